"""The one training loop: samples ahead, steps, figures, pictures, checkpoints, resume.

A stage's samples and its dropout depend on the seed and the number of the step alone, so a run that was
stopped and resumed goes through the same steps as one that never stopped.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from lipsync_cli.errors import DataError, LipsyncError, SettingsError
from lipsync_cli.interfaces import Image
from lipsync_cli.training import run_folder

Batch = TypeVar("Batch")
_AHEAD = 3  # batches that are drawn while a step runs


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How long, and how often what is done besides steps."""

    steps: int = 1000
    """Training steps in all."""
    warm_up: int = 50
    """Steps over which the learning rate rises; 0: it is there at once."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up the learning rate falls to 0 at the last step, or stays (the paper)."""
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
        for name in ("warm_up", "seed"):
            if getattr(self, name) < 0:
                raise SettingsError(f"loop.{name} must be at least 0")


class Stage(Protocol[Batch]):
    """What is trained: one of avsyncnet, lip_reader, gs, gl."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """All that has weights or statistics that change."""
        ...

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        """By name."""
        ...

    def draw(self, step: int) -> Batch:
        """The samples of a step; called in a second thread, so it must not touch networks."""
        ...

    def train(self, batch: Batch, step: int) -> dict[str, float]:
        """One step; the losses by name, always the same names."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on the speakers kept out, by name."""
        ...

    def picture(self) -> Image | None:
        """A sheet of samples to look at."""
        ...

    def save(self, folder: Path, facts: Mapping[str, object]) -> Path:
        """Write the checkpoint; where it is."""
        ...


@dataclass(frozen=True)
class Progress:
    """What is told after each step."""

    step: int
    """Steps done so far."""
    steps: int
    losses: Mapping[str, float]
    figures: Mapping[str, float] | None
    """Those of the validation, after the steps that have one."""


@dataclass
class Run(Generic[Batch]):
    """A stage, trained into a folder (`run_folder`)."""

    stage: Stage[Batch]
    settings: LoopSettings
    folder: Path

    def go(
        self,
        *,
        resume: bool,
        report: Callable[[Progress], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> int:
        """Train to the last step, or until should_stop says so (asked after each step; the state is saved).

        Returns the steps done. Raises DataError when the folder cannot be written, is of another network, or
        holds another run and resume is False; LipsyncError when a loss is no longer a number (the last good
        state is kept).
        """
        start = self._start(resume)
        clock = _Clock(run_folder.seconds_trained(self.folder))
        with _drawn_ahead(self.stage, start, self.settings.steps) as batches:
            for step in range(start, self.settings.steps):
                torch.manual_seed(self.settings.seed * 1_000_003 + step)
                losses = self.stage.train(next(batches), step)
                self._check(losses, step)
                run_folder.log(self.folder, step + 1, clock.seconds, losses)
                figures = self._between_steps(step + 1)
                report(Progress(step + 1, self.settings.steps, losses, figures))
                if should_stop() and step + 1 < self.settings.steps:
                    self.save(step + 1)
                    return step + 1
        return max(start, self.settings.steps)

    def _start(self, resume: bool) -> int:
        kept = run_folder.read_state(self.folder)
        if kept is None:
            run_folder.make(self.folder)
            run_folder.forget_after(self.folder, 0)
            return 0
        if not resume:
            raise DataError(f"{self.folder} holds a run already: add --resume to go on, or name a new folder")
        try:
            for name, network in self.stage.networks.items():
                network.load_state_dict(kept["networks"][name])
            for name, optimizer in self.stage.optimizers.items():
                optimizer.load_state_dict(kept["optimizers"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise DataError(
                f"{self.folder}: holds a run of another network ({_first_line(error)}): name a new folder"
            ) from error
        step = int(kept["step"])
        run_folder.forget_after(self.folder, step)
        return step

    def _check(self, losses: Mapping[str, float], step: int) -> None:
        broken = [name for name, value in losses.items() if not math.isfinite(value)]
        if broken:
            raise LipsyncError(
                f"{self.folder}: loss '{', '.join(broken)}' is not a number at step {step + 1}; the state of "
                "the last save is kept: start a new run with a lower learning rate"
            )

    def _between_steps(self, done: int) -> dict[str, float] | None:
        is_last = done == self.settings.steps
        figures = None
        if done % self.settings.validate_every == 0 or is_last:
            figures = self.stage.validate()
            run_folder.keep_figures(self.folder, done, figures, self.stage.picture())
        if done % self.settings.save_every == 0 or is_last:
            self.save(done, figures)
        return figures

    def save(self, step: int, figures: Mapping[str, float] | None = None) -> Path:
        """Write state and checkpoint, each under a temporary name first; where the checkpoint is.

        Raises LipsyncError rather than overwrite a good state with weights that are no numbers.
        """
        networks = {name: network.state_dict() for name, network in self.stage.networks.items()}
        broken = [
            f"{name}.{key}"
            for name, tensors in networks.items()
            for key, tensor in tensors.items()
            if tensor.is_floating_point() and not bool(tensor.isfinite().all())
        ]
        if broken:
            raise LipsyncError(
                f"{self.folder}: weights ({broken[0]}) are not numbers at step {step}; the state of the last "
                "save is kept: start a new run with a lower learning rate"
            )
        optimizers = {name: one.state_dict() for name, one in self.stage.optimizers.items()}
        run_folder.write_state(self.folder, {"step": step, "networks": networks, "optimizers": optimizers})
        return self.stage.save(self.folder, {"step": step, **(figures or {})})


class _Clock:
    """Seconds of training, those of the run before it was resumed included."""

    def __init__(self, before: float) -> None:
        self._zero = time.monotonic() - before

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._zero


@contextmanager
def _drawn_ahead(stage: Stage[Batch], start: int, stop: int) -> Iterator[Iterator[Batch]]:
    """Batches of the steps, drawn by a thread a little ahead; its errors reach the taker, who takes in order.

    The thread has ended when the block is left.
    """
    drawer = ThreadPoolExecutor(1, thread_name_prefix="draw samples")

    def take() -> Iterator[Batch]:
        coming: deque[Future[Batch]] = deque()
        for step in range(start, stop):
            while len(coming) < _AHEAD and step + len(coming) < stop:
                coming.append(drawer.submit(stage.draw, step + len(coming)))
            yield coming.popleft().result()

    try:
        yield take()
    finally:
        drawer.shutdown(wait=True, cancel_futures=True)


def rate_share(step: int, settings: LoopSettings) -> float:
    """Share of the full learning rate: rises over the warm-up, then stays or falls along half a cosine."""
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    if settings.schedule == "constant":
        return 1.0
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
    for held, current in zip(average.buffers(), network.buffers(), strict=True):
        held.copy_(current)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[:2]).strip()
