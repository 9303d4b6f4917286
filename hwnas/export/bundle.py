"""A bundle: a folder that holds everything needed to run a specialised net, and the proof of what it costs."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lut.storage import write_atomically
from profilers.formats import ModelFile

_PREDICT = '''"""Classify an image with the model beside this file: python predict.py image.npy

The image is a float32 array of shape {shape}, scaled as in training: {scaling}.
"""

import sys
from pathlib import Path

import numpy as np
{runtime}
here = Path(__file__).parent
image = np.load(sys.argv[1]).astype(np.float32).reshape({shape})
{run}
labels = (here / "labels.txt").read_text().split("\\n")
for index in np.argsort(-logits)[:3]:
    print(f"{{labels[index]}}  {{np.exp(logits[index]) / np.exp(logits).sum():.3f}}")
'''
_RUNTIMES = {
    "onnx": ("import onnxruntime\n", '''session = onnxruntime.InferenceSession(here / "model.onnx")
image = np.repeat(image[None], session.get_inputs()[0].shape[0], axis=0)
logits = session.run(None, {"input": image})[0][0]'''),
    "tflite": ('''
try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:  # as on older boards
    from tflite_runtime.interpreter import Interpreter
''', '''interpreter = Interpreter(str(here / "model.tflite"))
interpreter.allocate_tensors()
(given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
image = np.repeat(image.transpose(1, 2, 0)[None], given["shape"][0], axis=0)  # channels last
if given["dtype"] == np.int8:
    scale, zero = given["quantization"]
    image = np.clip(np.round(image / scale) + zero, -128, 127).astype(np.int8)
interpreter.set_tensor(given["index"], image)
interpreter.invoke()
logits = interpreter.get_tensor(made["index"])[0].astype(np.float32)
if made["dtype"] == np.int8:
    scale, zero = made["quantization"]
    logits = (logits - zero) * scale'''),
}  # fmt: skip


def write_bundle(
    folder: Path,
    models: Sequence[ModelFile],
    *,
    labels: Sequence[str],
    shape: tuple[int, int, int],
    scaling: str,
    facts: Mapping[str, Any],
) -> dict[str, str]:
    """Write the models, labels.txt, predict.py and bundle.json; returns the SHA-256 of each file by name.

    predict.py runs the first of the models, which are one net in several formats. `shape` is an image's, (C, H, W),
    and `scaling` says in words what its values are. bundle.json holds `facts` and
    the digests. The folder appears as a whole, in place of one from before.
    """
    runtime, run = _RUNTIMES[models[0].format]
    script = _PREDICT.format(shape=shape, scaling=scaling, runtime=runtime, run=run)
    contents = {
        **{f"model.{model.format}": model.content for model in models},
        "labels.txt": "\n".join(labels).encode(),
        "predict.py": script.encode(),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    record = {**facts, "files": digests}
    contents["bundle.json"] = json.dumps(record, indent=2).encode() + b"\n"
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")  # a full disk leaves the bundle from before
    try:
        for name, content in contents.items():
            write_atomically(beside / name, content)
        if folder.exists():
            shutil.rmtree(folder)
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return digests
