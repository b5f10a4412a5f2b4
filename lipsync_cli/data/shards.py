"""Shards: files of many clips, one after another, read memory-mapped.

CACHE/shards/00000.clips   the bytes of each clip as in its own file, beginning at a multiple of 4096; then
                           the index (JSON), its length (8 bytes, little endian) and 8 bytes that end a shard

A shard is written under a temporary name, flushed to the disk and renamed: it is there whole or not at all,
and never changes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.data.clip_bytes import ClipBytes, mapped
from lipsync_cli.errors import DataError
from lipsync_cli.whole_file import remove_unfinished, whole_file

_END = b"lipshard"
_ALIGNMENT = 4096


@dataclass(frozen=True, slots=True)
class PackedClip:
    """Where a clip lies in its shard."""

    speaker: str
    name: str
    start: int
    """Bytes from the beginning of the shard."""
    length: int
    """Bytes."""
    n_frames: int


@dataclass(frozen=True)
class Shard:
    """A file of clips."""

    path: Path
    clips: tuple[PackedClip, ...] = field(repr=False)

    @cached_property
    def _mapped(self) -> NDArray[np.uint8]:
        return mapped(self.path)

    def clip(self, place: PackedClip) -> ClipBytes:
        """Of one of `clips`. Raises OSError or ValueError when the shard cannot be read."""
        return ClipBytes(self._mapped[place.start : place.start + place.length])


def shard_folder(cache: Path) -> Path:
    """Where the shards of a cache lie."""
    return cache / "shards"


def open_shards(cache: Path) -> list[Shard]:
    """The shards of a cache in the order in which they were made. Raises DataError when one is damaged."""
    return [read_shard(path) for path in sorted(shard_folder(cache).glob("*.clips"))]


def read_shard(path: Path) -> Shard:
    """What is in a shard. Raises DataError when it is damaged."""
    try:
        with path.open("rb") as file:
            ending = 8 + len(_END)
            end = file.seek(0, os.SEEK_END) - ending
            file.seek(max(end, 0))
            length = int.from_bytes(file.read(8), "little")
            if file.read() != _END or length > end:
                raise ValueError("its end is missing")
            file.seek(end - length)
            clips = tuple(PackedClip(*entry) for entry in json.loads(file.read(length)))
        return Shard(path, clips)
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{path}: damaged shard ({error}): delete it and prepare its clips again") from error


def write_shard(cache: Path, clips: Sequence[tuple[str, str, Path]]) -> Shard:
    """Copy (speaker, name, file) of some clips into a new shard; the files stay.

    Raises DataError when a clip is damaged or the shard cannot be written; then nothing is left of it.
    """
    folder = shard_folder(cache)
    number = max((int(path.stem) for path in folder.glob("*.clips")), default=-1) + 1
    path = folder / f"{number:05d}.clips"
    try:
        folder.mkdir(exist_ok=True)
        with whole_file(path) as part, part.open("wb") as file:
            places = [_append(file, *clip) for clip in clips]
            index = [[each.speaker, each.name, each.start, each.length, each.n_frames] for each in places]
            listed = json.dumps(index, ensure_ascii=False, separators=(",", ":")).encode()
            file.write(listed + len(listed).to_bytes(8, "little") + _END)
            file.flush()
            os.fsync(file.fileno())
        _flush_folder(folder)
    except OSError as error:
        raise DataError(
            f"{path}: cannot write the shard ({error.strerror}): make room; what is prepared is safe"
        ) from error
    return Shard(path, tuple(places))


def remove_shard_parts(cache: Path) -> None:
    """Remove what a writer left behind that was stopped in the middle of a shard."""
    remove_unfinished(shard_folder(cache))


def _append(file: BinaryIO, speaker: str, name: str, path: Path) -> PackedClip:
    """Copy one clip to the next free place. Raises DataError when it is damaged."""
    file.write(bytes(-file.tell() % _ALIGNMENT))
    start, length = file.tell(), path.stat().st_size
    try:
        n_frames = ClipBytes(mapped(path)).shape("openings")[0]
    except ValueError as error:
        raise DataError(f"{path}: damaged clip ({error}): delete it and prepare again") from error
    with path.open("rb") as clip:
        shutil.copyfileobj(clip, file, 1 << 20)
    if file.tell() != start + length:
        raise DataError(f"{path}: changed while it was packed: is another lipsync at work here?")
    return PackedClip(speaker, name, start, length, n_frames)


def _flush_folder(folder: Path) -> None:
    """Let the new name reach the disk too, where a folder can be flushed (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
