"""What a run keeps in its folder.

settings.json   stage and resolved settings (`training.settings`)
state.pt        step, weights and optimizers, to resume from
*.safetensors   the checkpoint, to be used
log.csv         losses of every step
figures.jsonl   figures of every validation
curves.png      both as curves
samples/        pictures and short films with sound of every validation
checkpoints/    the last few checkpoints (`keeping`)
best/           those with the best figures
tensorboard/    events, if asked for
"""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import torch

from lipsync_cli.errors import DataError
from lipsync_cli.interfaces import Image
from lipsync_cli.whole_file import whole_file

_STATE, _LOG, _FIGURES, _SAMPLES = "state.pt", "log.csv", "figures.jsonl", "samples"
_DAMAGED = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, LookupError)
"""What torch.load raises for a file that is cut short or something else."""


def make(folder: Path) -> None:
    """Make the folder. Raises DataError where that cannot be."""
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The state to resume from; None when there is none. Raises DataError when it is damaged."""
    path = folder / _STATE
    if not path.is_file():
        return None
    try:
        with disk(path):
            kept: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise DataError(f"{path}: damaged, the run cannot go on: start a new one") from error
    return kept


def write_state(folder: Path, state: Mapping[str, object]) -> None:
    """Replace the state, whole or not at all. Raises DataError when the disk is full."""
    # Into memory first: torch has errors of its own for a disk that is full.
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_bytes(folder / _STATE, content.getbuffer())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file under a temporary name, then rename. Raises DataError."""
    with disk(path), whole_file(path) as part:
        part.write_bytes(content)


def log(folder: Path, step: int, seconds: float, losses: Mapping[str, float]) -> None:
    """Add a step's losses; seconds: of training so far."""
    file = folder / _LOG
    row = {"step": str(step), "seconds": f"{seconds:.2f}"}
    row |= {name: f"{value:.6g}" for name, value in losses.items()}
    with disk(file):
        head = list(row)
        if is_old := file.is_file():
            with file.open(encoding="utf-8", newline="") as stream:
                head = next(csv.reader(stream), head)
        with file.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, head, extrasaction="ignore")  # of an older version: fewer columns
            if not is_old:
                writer.writeheader()
            writer.writerow(row)


def log_rows(folder: Path) -> list[str]:
    """Lines of the log, the header first; none where there is no log."""
    file = folder / _LOG
    if not file.is_file():
        return []
    with disk(file):
        return file.read_text(encoding="utf-8").splitlines()


def kept_figures(folder: Path) -> list[dict[str, float]]:
    """Figures of all validations so far, each with its `step`; a line that was cut short is left out."""
    file = folder / _FIGURES
    if not file.is_file():
        return []
    with disk(file):
        lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if math.isfinite(_step_of_object(line))]


def film_path(folder: Path, step: int, number: int) -> Path:
    """Where a film of a validation goes."""
    samples = folder / _SAMPLES
    with disk(samples):
        samples.mkdir(exist_ok=True)
    return samples / f"step-{step:08d}-{number}.mp4"


def seconds_trained(folder: Path) -> float:
    """Those of the last logged step."""
    file = folder / _LOG
    if not file.is_file():
        return 0.0
    rows = file.read_text(encoding="utf-8").splitlines()[1:]
    return float(rows[-1].split(",")[1]) if rows else 0.0


def keep_figures(folder: Path, step: int, figures: Mapping[str, float], picture: Image | None) -> None:
    """Add the figures and the picture of a validation."""
    with disk(folder / _FIGURES), (folder / _FIGURES).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **figures}) + "\n")
    if picture is None:
        return
    samples = folder / _SAMPLES
    with disk(samples):
        samples.mkdir(exist_ok=True)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    write_bytes(samples / f"step-{step:08d}.png", encoded.tobytes())


def forget_after(folder: Path, step: int) -> None:
    """Drop lines of later steps, which a run wrote after the last save and will write again."""
    for name, step_of in ((_LOG, _step_of_row), (_FIGURES, _step_of_object)):
        file = folder / name
        if file.is_file():
            lines = file.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if step_of(line) <= step]
            if not kept:
                file.unlink()
            elif kept != lines:
                write_bytes(file, ("\n".join(kept) + "\n").encode())


def _step_of_row(line: str) -> float:
    """0 for the header, infinity for a row that was cut short."""
    first, comma, _ = line.partition(",")
    if first == "step":
        return 0
    return int(first) if comma and first.isdigit() else float("inf")


def _step_of_object(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except json.JSONDecodeError:
        return float("inf")


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Errors of the disk inside this block as DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}: the run is kept up to its last save; make room or "
            "permissions and resume"
        ) from error
