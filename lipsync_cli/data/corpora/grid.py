"""GRID (Cooke, Barker, Cunningham and Shao 2006; Zenodo 10.5281/zenodo.3625687, CC BY 4.0).

ROOT/s1/video/mpg_6000/bbaf2n.mpg, as its archives unpack, or flatter: ROOT/s1/bbaf2n.mpg (or .mp4). The
folder directly below ROOT is the speaker.
"""

from __future__ import annotations

from pathlib import Path

from lipsync_cli.data.corpora.folder import VIDEO_SUFFIXES
from lipsync_cli.data.corpora.source import SourceClip, existing, find_list, read_list
from lipsync_cli.errors import DataError


def list_clips(root: Path, split: str | None) -> list[SourceClip]:
    """Clips of all speakers, or of those that a list names: by speaker ("s1") or clip ("s1/bbaf2n").

    Raises DataError when there is no speaker's folder, or a list is missing.
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
    file = find_list(root, split)
    wanted = {name.removesuffix(Path(name).suffix) for name in read_list(file)}
    chosen = [clip for clip in clips if clip.speaker in wanted or f"{clip.speaker}/{clip.name}" in wanted]
    return existing(chosen, file)
