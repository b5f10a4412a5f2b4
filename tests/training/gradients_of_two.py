"""Run by torchrun in `test_parallel.py`: each process trains its half of a batch and keeps the gradients."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lipsync_cli.training.compute import Compute
from tests.training.conftest import Stages
from tests.training.test_parallel import STAGES, double_precision, gradients_of

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, cache = map(Path, sys.argv[1:])
    compute = Compute()
    kept = {}
    for name, changes in STAGES.items():
        stage = Stages(cache).build(name, *changes, compute=compute)
        batch = stage.draw(compute.place_among)
        with double_precision():
            kept[name] = gradients_of(stage, batch)
    torch.save(kept, folder / f"{compute.place_among}.pt")
