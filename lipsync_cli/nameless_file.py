"""A file without a name, for what is seldom looked at and would fill the memory."""

from __future__ import annotations

import tempfile
from io import FileIO
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import MediaError, unwritable


class NamelessFile:
    """Arrays, put one after the other; gone when it is closed, and when the program ends, however it ends.

    Made when the first array comes. Several threads may use it.

    Args:
        folder: on the disk that it takes its room from; None for the system's own place for such files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        self._lock = Lock()
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give its room back."""
        if self._file is not None:
            self._file.close()

    def append(self, array: NDArray[Any]) -> int:
        """Put an array at the end; the byte that it begins at. MediaError where it cannot be written."""
        left = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        with self._lock:
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
                place = self._file.seek(0, 2)
                while left:  # a disk that runs full takes a part first
                    left = left[self._file.write(left) :]
            except OSError as error:
                raise unwritable(self._folder, error.strerror) from error
        return place

    def fill(self, array: NDArray[Any], place: int) -> None:
        """Read a contiguous array from a byte on. MediaError where the file ends before."""
        if array.size == 0:
            return
        left = memoryview(array.data).cast("B")
        with self._lock:
            if self._file is not None:
                self._file.seek(place)
                while left and (n := self._file.readinto(left)):
                    left = left[n:]
        if left:
            raise MediaError(f"{self._folder}: what lipsync keeps there was cut short; check the disk")


class StoredRows:
    """An array [N, ...] of which a row, or some in line, is read when it is asked for.

    Args:
        rows: the array.
        file: where it is kept.
    """

    def __init__(self, rows: NDArray[np.float32], file: NamelessFile) -> None:
        self._file = file
        self._place = file.append(rows)
        self.shape: tuple[int, ...] = rows.shape
        """[N, ...]"""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, asked: int | slice) -> NDArray[np.float32]:
        """The rows of a slice without gaps, or one. IndexError past either end, MediaError as `fill`."""
        first, end, step = (asked if isinstance(asked, slice) else slice(asked, asked + 1)).indices(len(self))
        if step != 1:
            raise IndexError(f"every {step}th row: only rows in line are read")
        if not isinstance(asked, slice) and (asked < 0 or end <= first):
            raise IndexError(f"row {asked} of {len(self)}")
        rows = np.empty((max(0, end - first), *self.shape[1:]), np.float32)
        if rows.size:
            self._file.fill(rows, self._place + first * rows[0].nbytes)
        return rows if isinstance(asked, slice) else rows[0]
