"""Any folder of videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lipsync_cli.errors import DataError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".m4v"})


@dataclass(frozen=True, slots=True)
class SourceClip:
    """One video of a corpus."""

    path: Path
    speaker: str
    name: str


def list_clips(root: Path) -> list[SourceClip]:
    """All videos below a folder. The first folder below it names the speaker; a video that lies in the
    folder itself is a speaker of its own.

    Raises DataError when there is no such folder or no video in it.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder: name the folder that holds the videos")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise DataError(f"{root} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))})")
    return [_source(path, path.relative_to(root)) for path in paths]


def _source(path: Path, relative: Path) -> SourceClip:
    speaker = relative.parts[0] if len(relative.parts) > 1 else relative.stem
    name = "_".join((*relative.parts[1:-1], relative.stem))
    return SourceClip(path, speaker, name)
