"""TorchServe with its stock handler image_classifier: packs the model into an archive, then becomes the server.

    python torchserve_server.py PORT FOLDER        MODEL, WEIGHTS, WORKERS, THREADS as in pipeline.py
"""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(sys.executable).parent
PORT, FOLDER = int(sys.argv[1]), pathlib.Path(sys.argv[2])
MODEL, WEIGHTS, WORKERS = (os.environ[name] for name in ("MODEL", "WEIGHTS", "WORKERS"))

NETWORKS = {
    "vgg16": """
import torchvision
class Network(torchvision.models.VGG):
    def __init__(self):
        super().__init__(torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"]), init_weights=False)
""",
    "fashion-vgg": (HERE.parents[1] / "training" / "network.py").read_text().replace("classes: int", "classes: int = 10"),
}

FOLDER.mkdir(parents=True, exist_ok=True)
(FOLDER / "network.py").write_text(NETWORKS[MODEL])
handler = "image_classifier" if MODEL == "vgg16" else str(HERE / "torchserve_handler.py")
archive = ["--model-name", MODEL, "--version", "1.0", "--model-file", str(FOLDER / "network.py"), "--serialized-file", WEIGHTS]
archive += ["--handler", handler, "--export-path", str(FOLDER), "--force"]
subprocess.run([str(BIN / "torch-model-archiver"), *archive], check=True)

batching = {"batchSize": 8, "maxBatchDelay": 1, "responseTimeout": 600, "minWorkers": int(WORKERS), "maxWorkers": int(WORKERS)}
model = {"1.0": {"defaultVersion": True, "marName": f"{MODEL}.mar", **batching}}
(FOLDER / "config.properties").write_text(
    f"""inference_address=http://127.0.0.1:{PORT}
management_address=http://127.0.0.1:{PORT + 1}
metrics_address=http://127.0.0.1:{PORT + 2}
grpc_inference_port={PORT + 3}
grpc_management_port={PORT + 4}
disable_token_authorization=true
default_response_timeout=600
job_queue_size=1024
models={json.dumps({MODEL: model})}
"""
)
os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
os.chdir(FOLDER)
start = [str(BIN / "torchserve"), "--foreground", "--no-config-snapshots", "--model-store", str(FOLDER)]
os.execv(start[0], [*start, "--models", f"{MODEL}={MODEL}.mar", "--ts-config", str(FOLDER / "config.properties")])
