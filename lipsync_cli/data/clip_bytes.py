"""The arrays of a clip in mapped bytes: the layout of a safetensors file, read without a copy of the whole.

(The library reads files of its own only; clips lie one after another in a shard.)
"""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LENGTH = 8  # bytes at the beginning: little endian length of the header
_LONGEST_HEADER = 1 << 20
_TYPES = {"U8": np.uint8, "F16": np.float16, "F32": np.float32}


def mapped(path: Path) -> NDArray[np.uint8]:
    """All bytes of a file, read-only and read from disk as they are looked at: uint8 [n].

    (A third of the time of numpy's memmap, which matters for files that are opened at every step.)

    Raises OSError when there is no such file, ValueError when it is empty.
    """
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


class ClipBytes:
    """One clip.

    Args:
        data: uint8 [n], all bytes of the clip, mapped or not.

    Raises:
        ValueError: they are not those of a clip, or not all of them.
    """

    def __init__(self, data: NDArray[np.uint8]) -> None:
        length = int.from_bytes(data[:_LENGTH].tobytes(), "little")
        if len(data) < _LENGTH or not 0 < length <= min(_LONGEST_HEADER, len(data) - _LENGTH):
            raise ValueError("its beginning is not that of a clip")
        try:
            header = json.loads(data[_LENGTH : _LENGTH + length].tobytes())
            self.metadata: dict[str, str] = header.pop("__metadata__", {})
            self._places: dict[str, Any] = header
            end = max(place["data_offsets"][1] for place in header.values())
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its header cannot be read ({error})") from error
        self._data = data[_LENGTH + length :]
        if end != len(self._data):
            raise ValueError(f"{len(self._data)} bytes of arrays, not {end}")

    def shape(self, name: str) -> list[int]:
        """Of an array. Raises ValueError when there is none of that name."""
        if name not in self._places:
            raise ValueError(f"it has no {name}")
        shape: list[int] = self._places[name]["shape"]
        return shape

    def array(self, name: str) -> NDArray[Any]:
        """A view, read-only where the bytes are. Raises ValueError when there is none of that name."""
        shape = self.shape(name)
        kind = _TYPES.get(self._places[name]["dtype"])
        begin, end = self._places[name]["data_offsets"]
        if kind is None or end - begin != math.prod(shape) * np.dtype(kind).itemsize:
            raise ValueError(f"its {name} is of an unknown kind or length")
        return self._data[begin:end].view(kind).reshape(shape)
