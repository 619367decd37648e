"""One of the engines that are used from Python, for bench/engines.ts: it answers on standard output what it is asked for on standard input.

    python bench/python-engine.py {torch,torch-compiled,openvino,ncnn} BUILDER WEIGHTS.safetensors THREADS [PRECISION]

First a line {"ready": true, "version": ...}; then, for each line `run N FILE` with the path of raw pixels uint8
[N, 224, 224, 3], one {"ms": ..., "logits": [...]}: the milliseconds of the whole batch, from normalised float32 NCHW in
memory to logits in memory. PRECISION is fp32 (default) or bf16.
"""

import json
import os
import sys
import time

ENGINE, BUILDER, WEIGHTS, THREADS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
PRECISION = sys.argv[5] if len(sys.argv) > 5 else "fp32"
os.environ["OMP_NUM_THREADS"] = str(THREADS)

import numpy  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402

MEAN = numpy.array([0.485, 0.456, 0.406], numpy.float32)
STD = numpy.array([0.229, 0.224, 0.225], numpy.float32)


def read_safetensors(path):
    """Tensors by name: 8 bytes of header length, JSON, then the data."""
    data = numpy.memmap(path, numpy.uint8, "r")
    length = int(data[:8].view(numpy.uint64)[0])
    header = json.loads(bytes(data[8 : 8 + length]))
    return {
        name: torch.from_numpy(numpy.array(data[8 + length :][slice(*row["data_offsets"])].view(numpy.float32))).reshape(row["shape"])
        for name, row in header.items()
        if name != "__metadata__"
    }


def torch_network():
    network = torchvision.models.get_model(BUILDER)
    network.load_state_dict(read_safetensors(WEIGHTS), strict=False)  # Only num_batches_tracked may be missing.
    return network.eval()


def open_torch(compiled):
    torch.set_num_threads(THREADS)
    dtype = torch.bfloat16 if PRECISION == "bf16" else torch.float32
    network = torch_network().to(memory_format=torch.channels_last, dtype=dtype)
    if compiled:
        torch._inductor.config.freezing = True
        network = torch.compile(network)

    @torch.inference_mode()
    def run(x):
        x = torch.from_numpy(x).to(memory_format=torch.channels_last, dtype=dtype)
        return network(x).float().numpy()

    return run, torch.__version__


def open_openvino():
    import openvino

    model = openvino.convert_model(torch_network(), example_input=torch.zeros(1, 3, 224, 224))
    hint = "bf16" if PRECISION == "bf16" else "f32"
    options = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    return lambda x: compiled(x)[0], openvino.__version__


def folded_layers(network):
    """(kind, weight, bias) of convolutions, poolings and linear layers, batch norm folded in float64."""
    layers = []
    for module in [*network.features, *network.classifier]:
        if isinstance(module, torch.nn.Conv2d):
            layers.append(["conv", module.weight.detach().double(), module.bias.detach().double()])
        elif isinstance(module, torch.nn.BatchNorm2d):
            scale = module.weight.double() / (module.running_var.double() + module.eps).sqrt()
            layers[-1][1] = layers[-1][1] * scale[:, None, None, None]
            layers[-1][2] = (layers[-1][2] - module.running_mean.double()) * scale + module.bias.double()
        elif isinstance(module, torch.nn.MaxPool2d):
            layers.append(["pool", None, None])
        elif isinstance(module, torch.nn.Linear):
            layers.append(["linear", module.weight.detach().double(), module.bias.detach().double()])
    return layers


def open_ncnn():
    import ncnn

    layers = folded_layers(torch_network())
    rows = ["Input in 0 1 b0"]
    weights = []
    for at, (kind, weight, bias) in enumerate(layers):
        ends = f"l{at} 1 1 b{at} b{at + 1}"
        if kind == "pool":
            rows.append(f"Pooling {ends} 0=0 1=2 2=2")
            continue
        relu = 0 if at == len(layers) - 1 else 1
        size = weight.numel()
        if kind == "conv":
            rows.append(f"Convolution {ends} 0={weight.shape[0]} 1=3 4=1 5=1 6={size} 9={relu}")
        else:
            rows.append(f"InnerProduct {ends} 0={weight.shape[0]} 1=1 2={size} 9={relu}")
        # A tag of four zero bytes says that plain float32 follow.
        weights += [b"\0\0\0\0", weight.detach().float().numpy().tobytes(), bias.detach().float().numpy().tobytes()]
    param = f"7767517\n{len(rows)} {len(rows)}\n" + "\n".join(rows) + "\n"
    stem = f"{WEIGHTS}.ncnn"
    with open(f"{stem}.param", "w") as file:
        file.write(param)
    with open(f"{stem}.bin", "wb") as file:
        file.writelines(weights)
    net = ncnn.Net()
    net.opt.num_threads = THREADS
    # These four are on by default and are not fp32.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = PRECISION == "bf16"
    net.load_param(f"{stem}.param")
    net.load_model(f"{stem}.bin")
    os.remove(f"{stem}.param")
    os.remove(f"{stem}.bin")

    def run(x):
        logits = []
        for picture in x:
            extractor = net.create_extractor()
            extractor.input("b0", ncnn.Mat(picture))
            logits.append(numpy.array(extractor.extract(f"b{len(layers)}")[1]))
        return numpy.stack(logits)

    return run, ncnn.__version__


def main():
    openers = {
        "torch": lambda: open_torch(False),
        "torch-compiled": lambda: open_torch(True),
        "openvino": open_openvino,
        "ncnn": open_ncnn,
    }
    run, version = openers[ENGINE]()
    print(json.dumps({"ready": True, "version": version}), flush=True)
    for line in sys.stdin:
        _, n, path = line.split()
        pixels = numpy.fromfile(path, numpy.uint8)[: int(n) * 224 * 224 * 3].reshape(int(n), 224, 224, 3)
        x = numpy.ascontiguousarray(((pixels.astype(numpy.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2))
        started = time.perf_counter()
        logits = run(x)
        ms = 1000 * (time.perf_counter() - started)
        print(json.dumps({"ms": ms, "logits": logits.ravel().tolist()}), flush=True)


main()
