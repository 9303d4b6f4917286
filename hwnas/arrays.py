"""Arrays of .npz files: what the archive and the arrays' headers promise is looked at before memory is taken for it."""

import math
from collections.abc import Callable
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from profilers.errors import first_line, shown

Wanted = Callable[[list[str]], list[str]]


def read_arrays(content: bytes, max_bytes: int, wanted: Wanted = lambda names: names) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name, of those that it holds the ones `wanted`, read to the end.

    Raises ValueError where it is damaged, holds other things than plain arrays, or promises more than `max_bytes`.
    """
    try:
        with ZipFile(BytesIO(content)) as archive:
            entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(entries) < len(archive.infolist()) or not all(i.filename.endswith(".npy") for i in entries.values()):
                raise ValueError("it holds other things than arrays")
            chosen = wanted(list(entries))
            total = sum(entries[name].file_size for name in chosen)
            if total > max_bytes:
                raise ValueError(f"its arrays take {total / 2**20:.0f} MB, more than {max_bytes / 2**20:.0f} MB")
            return {name: _array(archive.read(entries[name]), name) for name in chosen}
    except ValueError:
        raise
    except Exception as error:  # what damaged bytes make zipfile's reader raise has no common type
        raise ValueError(first_line(error)) from error


def _array(content: bytes, name: str) -> NDArray[Any]:
    """An array from the bytes of an .npy file; its header may promise no more than these hold."""
    file = BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{shown(name)} is an array of version {version}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"{shown(name)} holds objects, which cannot be loaded")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"{shown(name)} is cut off, or not of the shape that it claims")
    flat = np.frombuffer(content, dtype, count, file.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C").copy()
