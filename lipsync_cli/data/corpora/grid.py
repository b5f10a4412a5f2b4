"""GRID (Cooke, Barker, Cunningham and Shao 2006; Zenodo 10.5281/zenodo.3625687, CC BY 4.0).

ROOT/s1/video/mpg_6000/bbaf2n.mpg, as its archives unpack, or flatter: ROOT/s1/bbaf2n.mpg (or .mp4). The
folder directly below ROOT is the speaker. GRID has no official split; the usual one is that of LipNet
(Assael, Shillingford, Whiteson and de Freitas 2016): two men and two women kept out.
"""

from __future__ import annotations

from pathlib import Path

from lipsync_cli.data.corpora.folder import VIDEO_SUFFIXES
from lipsync_cli.data.corpora.source import SourceClip, existing, list_of, read_list
from lipsync_cli.errors import DataError

UNSEEN = ("s1", "s2", "s20", "s22")
"""Speakers of the split `test`, LipNet's "unseen speakers"; all others are `train`."""


def list_clips(root: Path, split: str | None) -> list[SourceClip]:
    """Clips of all speakers, or of a split.

    split: a list that names speakers ("s1") or clips ("s1/bbaf2n"), as SPLIT.txt of the corpus or by its
    path; else `test` or `train` (see `UNSEEN`); else speakers themselves, as "s10,s23".

    Raises DataError when there is no speaker's folder, or the split is none of these or names nobody there.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder: name the folder that holds s1, s2, ...")
    by_name: dict[tuple[str, str], SourceClip] = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.suffix.lower() in VIDEO_SUFFIXES and len(parts) > 1 and not any(p[0] == "." for p in parts):
            # a clip may be there in two qualities (mpg_6000, mpg_vcd): the first one is the better
            by_name.setdefault((parts[0], path.stem), SourceClip(path, parts[0], path.stem))
    if not by_name:
        raise DataError(f"{root} is not GRID: it has no SPEAKER/.../CLIP.mpg")
    clips = list(by_name.values())
    if split is None:
        return clips
    file = list_of(root, split)
    if file is None:
        speakers = _speakers(root, split, {clip.speaker for clip in clips})
        return [clip for clip in clips if clip.speaker in speakers]
    wanted = {name.removesuffix(Path(name).suffix) for name in read_list(file)}
    chosen = [clip for clip in clips if clip.speaker in wanted or f"{clip.speaker}/{clip.name}" in wanted]
    return existing(chosen, file)


def _speakers(root: Path, split: str, known: set[str]) -> set[str]:
    if split == "train":
        chosen = known - set(UNSEEN)
    elif split == "test":
        chosen = known & set(UNSEEN)
    else:
        chosen = set(split.split(","))
        if missing := sorted(chosen - known):
            raise DataError(
                f"{root}: no speaker is called '{missing[0]}': --split takes speakers ({','.join(UNSEEN)}), "
                "test (these four), train (all others) or the path of a list"
            )
    if not chosen:
        raise DataError(f"{root}: has no speaker of the split '{split}' (test is {', '.join(UNSEEN)})")
    return chosen
