"""Pillow, torchvision's preset, an engine, softmax, the five likeliest: what each server of this folder does with a picture.

MODEL is vgg16 or fashion-vgg; ENGINE is torch, onnxruntime or openvino, which run the file WEIGHTS (.pth or .onnx) in
fp32 on THREADS threads.
"""

import io
import os

import torch
from PIL import Image

import networks

MODEL, ENGINE, WEIGHTS, THREADS = (os.environ[name] for name in ("MODEL", "ENGINE", "WEIGHTS", "THREADS"))


def open_torch():
    network = networks.load(MODEL, WEIGHTS).to(memory_format=torch.channels_last)
    return lambda x: network(x.contiguous(memory_format=torch.channels_last))


def open_onnxruntime():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(THREADS)
    session = onnxruntime.InferenceSession(WEIGHTS, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


def open_openvino():
    import openvino

    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": int(THREADS), "INFERENCE_PRECISION_HINT": "f32"}
    options["ENABLE_CPU_PINNING"] = int(THREADS) > 1  # Two processes of one thread would both sit on the first CPU.
    request = openvino.Core().compile_model(WEIGHTS, "CPU", options).create_infer_request()
    return lambda x: torch.from_numpy(request.infer({0: x.numpy()}, share_inputs=True)[0].copy())


class Pipeline:
    def __init__(self):
        torch.set_num_threads(int(THREADS))
        self.preset = networks.preset(MODEL)
        self.run = {"torch": open_torch, "onnxruntime": open_onnxruntime, "openvino": open_openvino}[ENGINE]()
        with torch.inference_mode():
            self.run(torch.zeros(1, 3, networks.SIZES[MODEL], networks.SIZES[MODEL]))

    @torch.inference_mode()
    def answers(self, bodies):
        pictures = [self.preset(Image.open(io.BytesIO(body)).convert("RGB")) for body in bodies]
        probabilities, indices = self.run(torch.stack(pictures)).softmax(1).topk(5)
        rows = zip(probabilities.tolist(), indices.tolist())
        return [{"predictions": [{"index": i, "probability": p} for p, i in zip(*row)]} for row in rows]
