"""Packages that are not installed with hwnas itself: what needs them, and which extra brings them."""

from importlib.util import find_spec

from profilers.errors import InvalidInputError

EXTRAS = {
    "torch": "train", "safetensors": "train", "matplotlib": "report", "PIL": "vision", "torchvision": "vision",
    "ai_edge_litert": "litert", "ai_edge_quantizer": "litert", "flatbuffers": "litert", "openvino": "openvino",
    "asyncssh": "devices",
}  # fmt: skip


def advice(package: str) -> str:
    """One line on a package that cannot be imported; "" for one that no extra brings."""
    name = package.partition(".")[0]
    return f"this needs {name}, which is not installed: pip install 'hwnas[{EXTRAS[name]}]'" if name in EXTRAS else ""


def check_training() -> None:
    """Raise InvalidInputError, which names the extra, unless supernets can be trained and evaluated here."""
    for name in ("torch", "safetensors"):
        if find_spec(name) is None:
            raise InvalidInputError(advice(name))
