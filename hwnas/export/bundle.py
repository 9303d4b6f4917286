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

PREDICT = '''"""Classify an image with the model beside this file: python predict.py image.npy

The image is a float32 array of shape {shape}, scaled as in training: {scaling}.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

here = Path(__file__).parent
session = onnxruntime.InferenceSession(here / "model.onnx", providers=["CPUExecutionProvider"])
image = np.load(sys.argv[1]).astype(np.float32).reshape({shape})
image = np.repeat(image[None], session.get_inputs()[0].shape[0], axis=0)
logits = session.run(None, {{"input": image}})[0][0]
labels = (here / "labels.txt").read_text().split("\\n")
for index in np.argsort(-logits)[:3]:
    print(f"{{labels[index]}}  {{np.exp(logits[index]) / np.exp(logits).sum():.3f}}")
'''


def write_bundle(
    folder: Path,
    model: ModelFile,
    *,
    labels: Sequence[str],
    shape: tuple[int, int, int],
    scaling: str,
    facts: Mapping[str, Any],
) -> dict[str, str]:
    """Write the model, labels.txt, predict.py and bundle.json; returns the SHA-256 of each file by name.

    `shape` is an image's, (C, H, W), and `scaling` says in words what its values are. bundle.json holds `facts` and
    the digests. The folder appears as a whole, in place of one from before.
    """
    script = PREDICT.format(shape=shape, scaling=scaling)
    contents = {
        f"model.{model.format}": model.content,
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
