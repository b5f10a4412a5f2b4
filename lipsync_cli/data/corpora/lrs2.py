"""LRS2-BBC (Afouras, Chung, Senior, Vinyals and Zisserman 2018), in the folders in which it is handed out.

ROOT/main/VIDEO/NNNNN.mp4 (or ROOT/mvlrs_v1/main/...) with NNNNN.txt beside it, ROOT/pretrain/..., and lists
train.txt, val.txt, test.txt, pretrain.txt whose lines are "VIDEO/NNNNN" (test.txt: more words follow). The
lists are the BBC's: they are read where the user has them. Nobody's name is known: a VIDEO counts as a
speaker.
"""

from __future__ import annotations

from pathlib import Path

from lipsync_cli.data.corpora.source import SourceClip, existing, find_list, read_list
from lipsync_cli.errors import DataError

_PARTS = ("main", "pretrain")


def list_clips(root: Path, split: str | None) -> list[SourceClip]:
    """Clips of a split (a name or a list's path); without one, all that the folder `main` holds.

    Raises DataError when the folders or the list are missing, or none of its clips is there.
    """
    top = _top(root)
    if split is None:
        found = [path.relative_to(top).with_suffix("") for path in sorted((top / "main").glob("*/*.mp4"))]
        return existing([_clip(top, name.as_posix()) for name in found], top)
    file = find_list(root, split) if not (top / f"{split}.txt").is_file() else top / f"{split}.txt"
    part = "pretrain" if file.stem == "pretrain" else "main"
    names = [name if name.split("/")[0] in _PARTS else f"{part}/{name}" for name in read_list(file)]
    return existing([_clip(top, name) for name in names], file)


def _clip(top: Path, name: str) -> SourceClip:
    parts = name.removesuffix(".mp4").split("/")
    if len(parts) != 3:
        raise DataError(f"{top}: '{name}' is no clip of LRS2 (VIDEO/NNNNN)")
    part, video, number = parts
    return SourceClip((top / part / video / number).with_suffix(".mp4"), video, f"{part}_{number}")


def _top(root: Path) -> Path:
    for top in (root, root / "mvlrs_v1"):
        if any((top / part).is_dir() for part in _PARTS):
            return top
    if root.name in _PARTS and root.is_dir():
        return root.parent
    raise DataError(f"{root} is not LRS2: it has no folder main or pretrain (nor mvlrs_v1 with them)")
