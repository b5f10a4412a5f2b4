"""The one training loop: samples ahead, steps, figures, pictures, checkpoints, resume.

A stage's samples and its dropout depend on the seed and the number of the step alone, so a run that was
stopped and resumed goes through the same steps as one that never stopped.
"""

from __future__ import annotations

import csv
import json
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import cv2
import torch
from torch import nn
from torch.optim import Optimizer

from lipsync_cli.errors import DataError, LipsyncError, SettingsError
from lipsync_cli.interfaces import Image

Batch = TypeVar("Batch")
_AHEAD = 2  # batches that are drawn while a step runs


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How long, and how often what is done besides steps."""

    steps: int = 1000
    """Training steps in all."""
    warm_up: int = 50
    """Steps over which the learning rate rises."""
    seed: int = 0
    """Of samples, dropout and first weights."""
    save_every: int = 200
    """Steps between states from which the run can be resumed."""
    validate_every: int = 500
    """Steps between figures on the validation speakers and pictures of samples."""

    def __post_init__(self) -> None:
        for name in ("steps", "save_every", "validate_every"):
            if getattr(self, name) < 1:
                raise SettingsError(f"loop.{name} must be at least 1")


class Stage(Protocol[Batch]):
    """What is trained: one of avsyncnet, lip_reader, gs, gl."""

    networks: Mapping[str, nn.Module]
    """All that has weights or statistics that change."""
    optimizers: Mapping[str, Optimizer]

    def draw(self, step: int) -> Batch:
        """The samples of a step; called in a second thread, so it must not touch networks."""
        ...

    def train(self, batch: Batch, step: int) -> dict[str, float]:
        """One step; the losses by name."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on the speakers kept out, by name."""
        ...

    def picture(self) -> Image | None:
        """A sheet of samples to look at."""
        ...

    def save(self, folder: Path, facts: Mapping[str, object]) -> None:
        """Write the checkpoints."""
        ...


@dataclass(frozen=True)
class Progress:
    """What is told after each step."""

    step: int
    steps: int
    losses: Mapping[str, float]
    figures: Mapping[str, float] | None


@dataclass
class Run(Generic[Batch]):
    """A folder with state.pt (to resume from), checkpoints, log.csv, figures.jsonl and samples/."""

    stage: Stage[Batch]
    settings: LoopSettings
    folder: Path

    def go(self, *, resume: bool, report: Callable[[Progress], None]) -> None:
        """Train to the last step. Raises DataError when the folder holds another run and resume is False,
        and LipsyncError when a loss is no longer a number (the last good state is kept)."""
        start = self._start(resume)
        began = time.monotonic()
        with _drawn_ahead(self.stage, start, self.settings.steps) as batches:
            for step in range(start, self.settings.steps):
                torch.manual_seed(self.settings.seed * 1_000_003 + step)
                losses = self.stage.train(next(batches), step)
                self._check(losses, step)
                self._log(step, losses, time.monotonic() - began)
                report(Progress(step + 1, self.settings.steps, losses, self._between_steps(step + 1)))

    def _start(self, resume: bool) -> int:
        state = self.folder / "state.pt"
        if not state.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            return 0
        if not resume:
            raise DataError(f"{self.folder} holds a run already: add --resume to go on, or name a new folder")
        kept = torch.load(state, map_location="cpu", weights_only=True)
        for name, network in self.stage.networks.items():
            network.load_state_dict(kept["networks"][name])
        for name, optimizer in self.stage.optimizers.items():
            optimizer.load_state_dict(kept["optimizers"][name])
        return int(kept["step"])

    def _check(self, losses: Mapping[str, float], step: int) -> None:
        broken = [name for name, value in losses.items() if not math.isfinite(value)]
        if broken:
            raise LipsyncError(
                f"{self.folder}: loss '{', '.join(broken)}' is not a number at step {step}; the state of the "
                "last save is kept: lower the learning rate and resume"
            )

    def _between_steps(self, done: int) -> dict[str, float] | None:
        is_last = done == self.settings.steps
        figures = None
        if done % self.settings.validate_every == 0 or is_last:
            figures = self.stage.validate()
            self._keep_figures(done, figures)
        if done % self.settings.save_every == 0 or is_last:
            self.save(done, figures)
        return figures

    def save(self, step: int, figures: Mapping[str, float] | None = None) -> None:
        """Write state and checkpoints, each under a temporary name first."""
        part = self.folder / "state.pt.part"
        torch.save(
            {
                "step": step,
                "networks": {name: network.state_dict() for name, network in self.stage.networks.items()},
                "optimizers": {name: one.state_dict() for name, one in self.stage.optimizers.items()},
            },
            part,
        )
        part.replace(self.folder / "state.pt")
        self.stage.save(self.folder, {"step": step, **(figures or {})})

    def _keep_figures(self, step: int, figures: Mapping[str, float]) -> None:
        with (self.folder / "figures.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        picture = self.stage.picture()
        if picture is not None:
            samples = self.folder / "samples"
            samples.mkdir(exist_ok=True)
            cv2.imwrite(str(samples / f"step-{step:08d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def _log(self, step: int, losses: Mapping[str, float], seconds: float) -> None:
        file = self.folder / "log.csv"
        is_new = not file.is_file()
        with file.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            if is_new:
                writer.writerow(["step", "seconds", *losses])
            writer.writerow([step + 1, f"{seconds:.2f}", *(f"{value:.6g}" for value in losses.values())])


@contextmanager
def _drawn_ahead(stage: Stage[Batch], start: int, stop: int) -> Iterator[Iterator[Batch]]:
    """Batches of the steps, drawn by a thread a little ahead; errors of the thread reach the taker."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=_AHEAD)
    ended = threading.Event()

    def work() -> None:
        for step in range(start, stop):
            try:
                item: Batch | BaseException = stage.draw(step)
            except BaseException as error:  # handed on: the taker raises it
                item = error
            while not ended.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if ended.is_set() or isinstance(item, BaseException):
                return

    def take() -> Iterator[Batch]:
        for _ in range(start, stop):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=work, name="draw samples", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        ended.set()
        thread.join()


def cosine_rate(step: int, settings: LoopSettings) -> float:
    """Share of the full learning rate: rises over the warm-up, then falls to 0 along half a cosine."""
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    share = (step - settings.warm_up) / max(settings.steps - settings.warm_up, 1)
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of weights; statistics of batch norms are copied."""
    for kept, new in zip(average.parameters(), network.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for kept, new in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(new)
