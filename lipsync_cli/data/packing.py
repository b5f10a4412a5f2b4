"""Finished clips into shards, for disks that like few large files; a kill at any moment loses nothing.

A clip's own file is removed only once the shard that holds it is whole on the disk; until then it is
read from either place, and it is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lipsync_cli.data.layout import clip_path, loose_clips
from lipsync_cli.data.shards import open_shards, remove_shard_parts, write_shard
from lipsync_cli.errors import DataError

_LOG = logging.getLogger(__name__)
Key = tuple[str, str]
"""Speaker and name of a clip."""


class Packer:
    """Packs the clips of a run in the order in which they are listed, whenever they are done.

    So the shards are the same however many workers there were, and whether the run was stopped in between.

    Args:
        cache: folder of the cache.
        listed: the clips of the run.
        shard_bytes: a shard is full when it holds so many bytes.
    """

    def __init__(self, cache: Path, listed: Sequence[Key], shard_bytes: int) -> None:
        self._cache = cache
        self._listed = list(dict.fromkeys(listed))
        self._shard_bytes = shard_bytes
        self._next = 0
        self._settled: set[Key] = set()
        self._waiting: list[tuple[str, str, Path]] = []
        self._n_bytes = 0

    def settle(self, clip: Key) -> int:
        """The clip was prepared, left out, or packed before; pack what fills a shard: how many clips."""
        self._settled.add(clip)
        n_packed = 0
        while self._next < len(self._listed) and self._listed[self._next] in self._settled:
            following = self._listed[self._next]
            self._next += 1
            self._settled.discard(following)
            path = clip_path(self._cache, *following)
            if path.is_file():
                self._waiting.append((*following, path))
                self._n_bytes += path.stat().st_size
            if self._n_bytes >= self._shard_bytes:
                n_packed += self.finish()
        return n_packed

    def finish(self) -> int:
        """Pack what is left, however little: how many clips."""
        waiting, self._waiting, self._n_bytes = self._waiting, [], 0
        if waiting:
            write_shard(self._cache, waiting)
            remove_files(path for *_, path in waiting)
        return len(waiting)


def packed_clips(cache: Path) -> set[Key]:
    """The clips that are in a shard. Raises DataError when one is damaged."""
    return {(clip.speaker, clip.name) for shard in open_shards(cache) for clip in shard.clips}


def tidy(cache: Path) -> set[Key]:
    """Remove what a killed packing left, half shards and files of clips that are packed; the packed clips."""
    remove_shard_parts(cache)
    packed = packed_clips(cache)
    remove_files(path for clip in packed if (path := clip_path(cache, *clip)).is_file())
    return packed


def pack(cache: Path, shard_bytes: int) -> Iterator[int]:
    """Pack every clip that has a file of its own; yields how many clips were packed, shard by shard.

    Raises DataError when a clip is damaged, a shard cannot be written, or another process works on the cache.
    """
    with locked(cache):
        tidy(cache)
        clips = loose_clips(cache)
        packer = Packer(cache, clips, shard_bytes)
        for clip in clips:
            if n_packed := packer.settle(clip):
                yield n_packed
        if n_packed := packer.finish():
            yield n_packed


def remove_files(paths: Iterator[Path]) -> None:
    """Remove files of clips that are packed, and folders that are empty then. Raises DataError."""
    folders = set()
    try:
        for path in paths:
            path.unlink(missing_ok=True)
            folders.add(path.parent)
        for folder in folders:
            if not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise DataError(f"{error.filename}: is packed but cannot be removed: {error.strerror}") from error


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Nobody else prepares into the cache or packs it. Raises DataError when somebody does."""
    lock = FileLock(cache / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise DataError(f"{cache}: another lipsync prepares into it or packs it: wait for its end") from error
    except NotImplementedError:
        _LOG.warning("%s: its disk knows no locks: let no two of lipsync prepare into it at once", cache)
    except OSError as error:
        raise DataError(f"{cache}: cannot write into the cache: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
