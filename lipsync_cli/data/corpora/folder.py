"""Any folder of videos."""

from __future__ import annotations

import zlib
from collections import Counter
from pathlib import Path

from lipsync_cli.data.corpora.source import SourceClip
from lipsync_cli.errors import DataError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".m4v"})


def list_clips(root: Path) -> list[SourceClip]:
    """All videos below a folder, but for hidden ones. The first folder below it names the speaker; a video
    that lies in the folder itself is a speaker of its own.

    Raises DataError when there is no such folder or no video in it.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder: name the folder that holds the videos")
    relative = (path.relative_to(root) for path in sorted(root.rglob("*")))
    videos = [
        path
        for path in relative
        if path.suffix.lower() in VIDEO_SUFFIXES and not any(part.startswith(".") for part in path.parts)
    ]
    if not videos:
        raise DataError(f"{root} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))})")
    taken = Counter(_names(path) for path in videos)
    return [_source(root, path, is_unique=taken[_names(path)] == 1) for path in videos]


def _names(relative: Path) -> tuple[str, str]:
    """Speaker and name of a video."""
    speaker = relative.parts[0] if len(relative.parts) > 1 else relative.stem
    return speaker, "_".join((*relative.parts[1:-1], relative.stem))


def _source(root: Path, relative: Path, *, is_unique: bool) -> SourceClip:
    speaker, name = _names(relative)
    if not is_unique:  # a.mp4 beside a.mov, or b_c.mp4 beside b/c.mp4
        name = f"{name}-{zlib.crc32(relative.as_posix().encode()):08x}"
    return SourceClip(root / relative, speaker, name)
