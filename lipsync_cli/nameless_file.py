"""A file without a name, for what is seldom looked at and would fill the memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import MediaError, unwritable


class NamelessFile:
    """Arrays, put one after the other; gone when it is closed, and when the program ends, however it ends.

    Several threads may use it.

    Args:
        folder: on the disk that it takes its room from; None for the system's own place for such files.

    Raises:
        MediaError: the file cannot be made or written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        self._lock = Lock()
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise unwritable(self._folder, error.strerror) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give its room back."""
        self._file.close()

    def append(self, array: NDArray[Any]) -> int:
        """Put an array at the end; the byte that it begins at."""
        left = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        with self._lock:
            try:
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
            self._file.seek(place)
            while left and (n := self._file.readinto(left)):
                left = left[n:]
        if left:
            raise MediaError(f"{self._folder}: what lipsync keeps there was cut short; check the disk")
