"""Writes a network as ONNX, for the servers that run it by onnxruntime or OpenVINO.

    python bench/peers/export.py {vgg16,fashion-vgg} WEIGHTS.pth OUT.onnx
"""

import sys

import torch

import networks

name, weights, out = sys.argv[1:]
size = networks.SIZES[name]
torch.onnx.export(
    networks.load(name, weights),
    (torch.zeros(1, 3, size, size),),
    out,
    input_names=["input"],
    output_names=["logits"],
    dynamic_axes={"input": {0: "n"}, "logits": {0: "n"}},
    opset_version=17,
    dynamo=False,
)
