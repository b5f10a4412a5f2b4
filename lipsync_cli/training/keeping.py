"""Which checkpoints of a run are kept beside the newest: the last few, and those with the best figures.

RUN/checkpoints/step-00000400.NAME.safetensors   as they were saved, the last `keep_last` of them
RUN/best/FIGURE/NAME.safetensors                 where a figure of the validation was best so far
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lipsync_cli.training.run_folder import disk, kept_figures
from lipsync_cli.whole_file import whole_file

BEST = {"sync": 1, "lmd": -1, "confidence": 1, "opening_r": 1}
"""Figures by which the best checkpoints are kept, and which way is better."""


def better_than_ever(folder: Path, figures: Mapping[str, float]) -> list[str]:
    """Names of the figures in `BEST` that beat all validations of the run before this one."""
    before = kept_figures(folder)
    return [
        name
        for name, sign in BEST.items()
        if name in figures
        and math.isfinite(figures[name])
        and all(sign * figures[name] > sign * past[name] for past in before if name in past)
    ]


def best_folder(folder: Path, figure: str) -> Path:
    """Where the checkpoint with the best figure lies."""
    return folder / "best" / figure


def keep_last(checkpoint: Path, step: int, n_kept: int) -> None:
    """Keep a copy (a link, where the disk can) of a checkpoint, and remove those that are too old."""
    folder = checkpoint.parent / "checkpoints"
    pattern = f"step-*.{checkpoint.name}"
    if n_kept == 0:
        return
    kept = folder / f"step-{step:08d}.{checkpoint.name}"
    with disk(kept):
        folder.mkdir(exist_ok=True)
        with whole_file(kept) as part:
            part.unlink(missing_ok=True)  # of a run that was killed
            try:
                os.link(checkpoint, part)
            except OSError:  # a file system without links
                shutil.copyfile(checkpoint, part)
    for old in sorted(folder.glob(pattern))[:-n_kept]:
        with suppress(OSError):
            old.unlink()
