"""Milliseconds of a training step at the small settings, in its parts, in fp32 and bf16.

    python tests/benchmarks/training_step.py CACHE [STEPS]

CACHE: of `lipsync prepare`, 96 pixels. `data` is how long a step waits for its samples, `draw` the processor
time of drawing them, in a thread beside the steps, `cpu` the processor time of everything: their ratio holds
on a busy machine too. Medians without the first steps.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from lipsync_cli.assembly_training import TrainJob, plan_training
from lipsync_cli.training.ahead import StepTimes
from lipsync_cli.training.loop import Progress
from lipsync_cli.training.stages import AskedSettings

WARM = 3
PARTS = ("data", "draw", "forward", "backward", "total", "cpu")


def measure(stage: str, precision: str, cache: Path, folder: Path, n_steps: int) -> dict[str, float]:
    out = folder / f"{stage}-{precision}"
    changes = ["loop.films=false", "corpus.validation_share=0"]
    flags: dict[str, object] = {"loop.steps": n_steps}
    if stage in ("gs", "gl"):
        changes.append("coefficients.perceptual=0")
    if stage == "gl":
        changes.append("coefficients.triplet=0")
        flags["silent_lip"] = str(folder / f"gs-{precision}" / "silent_lip.safetensors")
    asked = AskedSettings(stage=stage, config="small", overrides=changes, flags=flags)
    times: list[StepTimes] = []
    clocks = [time.process_time()]

    def keep(progress: Progress) -> None:
        times.append(progress.times)
        clocks.append(time.process_time())

    plan_training(TrainJob(asked=asked, data=cache, folder=out, precision=precision)).go(keep, lambda: False)
    spent = [after - before for before, after in pairwise(clocks)]
    parts = {part: 1000 * median(getattr(one, part) for one in times[WARM:]) for part in PARTS[:-1]}
    return parts | {"cpu": 1000 * median(spent[WARM:])}


def main() -> None:
    cache = Path(sys.argv[1])
    n_steps = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    print(f"{'stage':10}{'':6}" + "".join(f"{part:>10}" for part in PARTS) + "   draw / cpu")
    with tempfile.TemporaryDirectory() as folder:
        for stage in ("syncnet", "avsyncnet", "gs", "gl"):
            for precision in ("fp32", "bf16"):
                ms = measure(stage, precision, cache, Path(folder), n_steps)
                row = "".join(f"{ms[part]:10.1f}" for part in PARTS)
                print(f"{stage:10}{precision:6}{row}   {100 * ms['draw'] / ms['cpu']:.1f} %", flush=True)


if __name__ == "__main__":
    main()
