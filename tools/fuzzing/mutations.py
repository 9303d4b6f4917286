"""Inputs that are nearly right: seeded mutations of samples, by what the samples are."""

import json
import random
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np

DEEP, HUGE = "@deep@", "@huge@"  # stand in JSON trees for what `json.dumps` cannot write
ODD: tuple[Any, ...] = (
    None, True, "", "x", "\x1b[31mred\x07\n", "\u202e", "../../x", [], {}, [[]], [None], {"": None}, -1, 0, 0.5,
    2**31, 2**63, 1e308, -1e-320, float("nan"), float("inf"), "9" * 400, "x" * 20_000, list(range(2000)), DEEP, HUGE,
)  # fmt: skip
TOKENS = (
    b"\x00", b"\x1b[31m", b"\xff\xfe", b"9" * 5000, b"1e999", b"-1", b"nan", b"[" * 100_000, b'{"a":' * 30_000, b"\n",
    b"\r", b"&a [*a]", b"<<: ", b"!!timestamp x", b"''", b'"', b"a.b.c", b",", b"=", b":",
    b"0" * 320, "\u2028\u0661".encode(),
)  # fmt: skip
Mutation = Callable[[bytes, random.Random], bytes]


def of_bytes(content: bytes, chance: random.Random) -> bytes:
    """Bits flipped, the end cut off, a part removed, doubled or moved, or a token put in."""
    kind, place = chance.randrange(6), chance.randrange(len(content) + 1)
    other = min(len(content), place + chance.choice((1, 3, 30, 300)))
    if kind == 0:
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 4, 40))):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    if kind == 1:
        return content[:place]
    if kind == 2:
        return content[:place] + content[other:]
    if kind == 3:
        return content[:other] + content[place:]
    if kind == 4:
        return content[:place] + chance.choice(TOKENS) + content[other:]
    return content[:place] + chance.choice(TOKENS) + content[place:]


def of_json(content: bytes, chance: random.Random) -> bytes:
    """A value of the tree replaced, removed, doubled or renamed."""
    tree = [json.loads(content)]
    places: list[tuple[Any, Any]] = []
    todo: list[Any] = [tree]
    while todo:
        node = todo.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                todo.append(node[key])
    node, key = chance.choice(places)
    kind = chance.randrange(8)
    if kind == 0 and node is not tree:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[str(chance.choice(ODD))] = node.pop(key)
    elif kind == 2 and isinstance(node, list) and node is not tree:
        node.insert(key, node[key])
    elif kind == 3 and type(node[key]) in (int, float):
        node[key] *= chance.choice((-1, 0, 1e12, 10**30))
    else:
        node[key] = chance.choice(ODD)
    text = json.dumps(tree[0], separators=(",", ":"))
    return text.replace(f'"{DEEP}"', "[" * 50_000 + "]" * 50_000).replace(f'"{HUGE}"', "9" * 5000).encode()


def of_lines(content: bytes, chance: random.Random) -> bytes:
    """A tree of a file of JSON lines changed, or its lines put into another order."""
    lines = content.splitlines()
    place = chance.randrange(len(lines))
    if chance.randrange(10) == 0:
        lines[place], lines[-1] = lines[-1], lines[place]
    else:
        lines[place] = of_json(lines[place], chance)
    return b"\n".join(lines) + b"\n"


def of_safetensors(content: bytes, chance: random.Random) -> bytes:
    """The header's tree changed, or that of the JSON text in its metadata."""
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    if "hwnas" in header.get("__metadata__", {}) and chance.randrange(4):
        changed = of_json(header["__metadata__"]["hwnas"].encode(), chance)
        header["__metadata__"]["hwnas"] = changed.decode()
        text = json.dumps(header).encode()
    else:
        text = of_json(json.dumps(header).encode(), chance)
    return struct.pack("<Q", len(text)) + text + data


def of_npz(content: bytes, chance: random.Random) -> bytes:
    """An array of other type, shape or values, one more, one less, or a changed JSON text."""
    arrays = dict(np.load(BytesIO(content)))
    name = chance.choice(list(arrays))
    array = arrays[name]
    if array.dtype.kind == "U" and chance.randrange(4):
        arrays[name] = np.array(of_json(str(array).encode(), chance).decode())
    else:
        changes: tuple[Callable[[], Any], ...] = (
            lambda: array.reshape(-1), lambda: array[None], lambda: array.reshape(-1)[:-1], lambda: np.float64("nan"),
            lambda: np.zeros(0), lambda: np.array("text"), lambda: np.full(array.shape, 1e308),
            lambda: np.zeros(array.shape, np.complex64), lambda: np.zeros(array.shape, "M8[s]"), lambda: np.full(3, -7),
            lambda: np.zeros(array.shape, [("a", "f4"), ("b", "i2")]), lambda: np.zeros(array.shape, bool),
        )  # fmt: skip
        arrays[name] = chance.choice(changes)()
    if chance.randrange(6) == 0:
        arrays[chance.choice(["x", "\x1b[31m", "a/../b", "0.weight"])] = arrays.pop(name)
    written = BytesIO()
    chance.choice([np.savez, np.savez_compressed])(written, **arrays)
    return written.getvalue()


def of_archive(content: bytes, chance: random.Random) -> bytes:
    """A file of torch's with one member changed, missing or compressed."""
    written = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        changed = chance.choice([*old.namelist(), *[name for name in old.namelist() if name.endswith(".pkl")] * 9])
        for name in old.namelist():
            data = old.read(name)
            if name == changed and chance.randrange(8) == 0:
                continue
            packed = zipfile.ZIP_DEFLATED if name == changed and chance.randrange(8) == 0 else zipfile.ZIP_STORED
            new.writestr(name, of_bytes(data, chance) if name == changed and data else data, packed)
    return written.getvalue()


BY_KIND: dict[str, tuple[Mutation, ...]] = {
    "json": (of_bytes, of_json, of_json),
    "lines": (of_bytes, of_lines, of_lines),
    "text": (of_bytes,),
    "safetensors": (of_bytes, of_safetensors, of_safetensors),
    "npz": (of_bytes, of_npz, of_npz),
    "torch": (of_bytes, of_archive),
}


def mutated(content: bytes, kind: str, chance: random.Random) -> bytes:
    """The sample, of a `kind` of BY_KIND, changed once or several times."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        try:
            content = chance.choice(BY_KIND[kind])(content, chance) or content
        except Exception:  # what was changed before is no sample of its kind any more
            content = of_bytes(content, chance) if content else b"\x00"
    return content
