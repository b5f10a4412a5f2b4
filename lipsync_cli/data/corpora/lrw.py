"""LRW (Chung and Zisserman 2016), in the folders in which it is handed out.

ROOT/WORD/{train,val,test}/WORD_NNNNN.mp4 (or ROOT/lipread_mp4/WORD/...). Nobody's name is known and no clip
says from which programme it is: a WORD counts as a speaker, so that words are balanced.
"""

from __future__ import annotations

from pathlib import Path

from lipsync_cli.data.corpora.source import SourceClip, existing, read_list
from lipsync_cli.errors import DataError

SPLITS = ("train", "val", "test")


def list_clips(root: Path, split: str | None) -> list[SourceClip]:
    """Clips of a split: train, val or test (the folders), or the path of a list of names such as ABOUT_00001.

    Raises DataError when the folders are not those of LRW, or the split is neither.
    """
    top = root / "lipread_mp4" if (root / "lipread_mp4").is_dir() else root
    wanted = SPLITS if split is None or Path(split).is_file() else (split,)
    if not set(wanted) <= set(SPLITS):
        raise DataError(f"{root}: LRW has no split '{split}': use train, val or test, or the path of a list")
    clips = [
        SourceClip(path, path.parent.parent.name, f"{path.parent.name}_{path.stem}")
        for part in wanted
        for path in sorted(top.glob(f"*/{part}/*.mp4"))
    ]
    if not clips:
        raise DataError(f"{root} is not LRW: it has no WORD/{wanted[0]}/WORD_NNNNN.mp4")
    if split is not None and Path(split).is_file():
        names = {Path(name).stem for name in read_list(Path(split))}
        clips = [clip for clip in clips if clip.path.stem in names]
        return existing(clips, Path(split))
    return sorted(clips, key=lambda clip: (clip.speaker, clip.name))
