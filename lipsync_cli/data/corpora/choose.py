"""The corpora by name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lipsync_cli.data.corpora import folder, grid, hdtf, lrs2, lrw
from lipsync_cli.data.corpora.source import SourceClip, check_permitted, existing, find_list, read_list

CorpusName = Literal["folder", "grid", "hdtf", "lrs2", "lrw"]


def list_corpus(name: CorpusName, root: Path, split: str | None = None) -> list[SourceClip]:
    """The clips of a corpus in its official layout; split: what the corpus calls so, or the path of a list.

    Raises DataError when the folder is not that corpus or may not be read, or a list is missing.
    """
    check_permitted(root)
    if name == "folder":
        clips = folder.list_clips(root)
        if split is None:
            return clips
        file = find_list(root, split)
        wanted = {name.removesuffix(Path(name).suffix) for name in read_list(file)}
        chosen = [clip for clip in clips if {clip.speaker, f"{clip.speaker}/{clip.name}"} & wanted]
        return existing(chosen, file)
    lists = {"grid": grid.list_clips, "hdtf": hdtf.list_clips, "lrs2": lrs2.list_clips, "lrw": lrw.list_clips}
    return lists[name](root, split)
