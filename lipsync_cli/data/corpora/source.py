"""What every corpus is read into, and the lists that split one."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lipsync_cli.errors import DataError
from lipsync_cli.interfaces import Box


@dataclass(frozen=True, slots=True)
class SourceClip:
    """One clip of a corpus: a video, or a part of one."""

    path: Path
    speaker: str
    name: str
    start: float = 0.0
    """Seconds of the video at which the clip begins."""
    end: float = math.inf
    """Seconds of the video at which it ends."""
    region: Box | None = None
    """The part of the picture that counts, in heights of the picture from its upper left corner."""


def check_permitted(folder: Path) -> None:
    """DataError where a folder is there but what it holds may not be seen: it would look empty."""
    try:
        is_closed = folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)
    except PermissionError:  # of a folder above it
        is_closed = True
    if is_closed:
        raise DataError(f"{folder}: not permitted to read this folder; change its permissions")


def find_list(root: Path, split: str, suffixes: Sequence[str] = (".txt",)) -> Path:
    """The file of a split list: `split` itself where it is one, else SPLIT.txt in or just above the corpus.

    Raises DataError when there is none: lists come from the corpus's owner and are never part of lipsync.
    """
    found = list_of(root, split, suffixes)
    if found is not None:
        return found
    raise DataError(
        f"{root}: no list of the split '{split}' ({split}{suffixes[0]} there or in {root.parent}): put the "
        "corpus's own list there, or give its path with --split"
    )


def list_of(root: Path, split: str, suffixes: Sequence[str] = (".txt",)) -> Path | None:
    """As `find_list`; None where there is none."""
    if Path(split).is_file():
        return Path(split)
    places = [root, root.parent, root / "filelists", root / "lists"]
    files = (place / f"{split}{suffix}" for place in places for suffix in suffixes)
    return next((file for file in files if file.is_file()), None)


def read_list(path: Path) -> list[str]:
    """The first word of every line that has one.

    Raises DataError when the file cannot be read or names nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of clips: {error}") from error
    names = [line.split()[0] for line in lines if line.split()]
    if not names:
        raise DataError(f"{path}: names no clip")
    return names


def existing(clips: Sequence[SourceClip], what: Path) -> list[SourceClip]:
    """The clips whose videos are there. Raises DataError when not one of them is."""
    there = [clip for clip in clips if clip.path.is_file()]
    if not there:
        missing = f"{clips[0].path} is missing" if clips else "it names none"
        raise DataError(f"{what}: none of its {len(clips)} clips is there ({missing}): check the folder")
    return there
