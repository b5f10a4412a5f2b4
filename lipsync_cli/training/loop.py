"""The one training loop: samples ahead, steps, figures, pictures, checkpoints, resume.

A stage's samples and its dropout depend on the seed and the number of the step alone, so a run that was
stopped and resumed goes through the same steps as one that never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from lipsync_cli.errors import DataError, LipsyncError, SettingsError
from lipsync_cli.interfaces import Image
from lipsync_cli.training import keeping, run_folder
from lipsync_cli.training.ahead import Clock, Drawn, StepTimes, drawn_ahead
from lipsync_cli.training.board import Board, open_board
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.curves import draw_curves
from lipsync_cli.training.film import Film

Batch = TypeVar("Batch")


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
    accumulate: int = 1
    """Parts of a step: batches whose gradients are averaged before weights change (they fit the memory one
    by one; batch norm and in-batch negatives know their own part only)."""
    keep_last: int = 2
    """So many checkpoints of the last saves are kept, beside those with the best figures; 0: the last one."""
    films: bool = True
    """Generators: short films with sound beside the pictures of samples."""
    tensorboard: bool = False
    """Losses, figures and pictures for TensorBoard too (the extra `train`)."""

    def __post_init__(self) -> None:
        for name in ("steps", "save_every", "validate_every", "accumulate"):
            if getattr(self, name) < 1:
                raise SettingsError(f"loop.{name} must be at least 1")
        for name in ("warm_up", "seed", "keep_last"):
            if getattr(self, name) < 0:
                raise SettingsError(f"loop.{name} must be at least 0")


class Stage(Protocol[Batch]):
    """What is trained: one of syncnet, avsyncnet, lip_reader, gs, gl."""

    @property
    def compute(self) -> Compute:
        """Where it computes, and with which other processes."""
        ...

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """All that has weights or statistics that change."""
        ...

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        """By name."""
        ...

    def draw(self, number: int) -> Batch:
        """The samples of a batch, by its number; called in a second thread: it must not touch networks."""
        ...

    def train(self, batch: Batch, step: int) -> dict[str, float]:
        """One step, or one part of it; the losses by name, always the same names."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on the speakers kept out, by name."""
        ...

    def picture(self) -> Image | None:
        """A sheet of samples to look at."""
        ...

    def films(self) -> Sequence[Film]:
        """Short samples to look at and to hear."""
        ...

    def save(self, folder: Path, facts: Mapping[str, object]) -> Path:
        """Write the checkpoint, as a new file that takes the old one's place; where it is."""
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
    times: StepTimes = field(default_factory=StepTimes)
    """Where the step's time went."""
    remark: str | None = None
    """Something that the user had better know now."""


@dataclass
class Run(Generic[Batch]):
    """A stage, trained into a folder (`run_folder`)."""

    stage: Stage[Batch]
    settings: LoopSettings
    folder: Path
    watch: Callable[[Mapping[str, float]], str | None] = lambda losses: None
    """Told of each step's losses: what is to be remarked on them."""
    write_film: Callable[[Path, Film], None] | None = None
    """Writes a sample with its sound; None: there are none."""

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
        state is kept). Of several processes the first one writes and reports.
        """
        start, compute = self._start(resume), self.stage.compute
        clock = Clock(run_folder.seconds_trained(self.folder))
        with self._board(start) as board, drawn_ahead(self.stage.draw, self._numbers(start)) as batches:
            for step in range(start, self.settings.steps):
                losses, times = self._step(batches, step)
                self._check(losses, step)
                remark = self.watch(losses)
                if compute.is_first:
                    run_folder.log(self.folder, step + 1, clock.seconds, {**losses, **times.in_ms()})
                    board.add(step + 1, losses)
                figures = self._between_steps(step + 1, board)
                report(Progress(step + 1, self.settings.steps, losses, figures, times, remark))
                if compute.any(should_stop()) and step + 1 < self.settings.steps:
                    self.save(step + 1)
                    compute.meet()
                    return step + 1
        compute.meet()
        return max(start, self.settings.steps)

    def _numbers(self, start: int) -> Iterator[int]:
        """Numbers of this process's batches: those of one process would be the same, one after another."""
        compute = self.stage.compute
        for part in range(start * self.settings.accumulate, self.settings.steps * self.settings.accumulate):
            yield part * compute.n_processes + compute.place_among

    def _step(self, batches: Iterator[Drawn[Batch]], step: int) -> tuple[dict[str, float], StepTimes]:
        """All parts of a step: mean losses over parts and processes, and where the time went."""
        compute, parts = self.stage.compute, self.settings.accumulate
        all_losses: list[dict[str, float]] = []
        times = StepTimes()
        compute.take_backward_seconds()
        for part in range(parts):
            began = time.perf_counter()
            drawn = next(batches)
            begun = time.perf_counter()
            torch.manual_seed(self.settings.seed * 1_000_003 + drawn.number)
            compute.begin_part(part, parts)
            all_losses.append(self.stage.train(drawn.batch, step))
            ended, backward = time.perf_counter(), compute.take_backward_seconds()
            times += StepTimes(begun - began, drawn.seconds, ended - begun - backward, backward)
        losses = all_losses[0]
        if parts > 1:
            losses = {name: sum(one[name] for one in all_losses) / parts for name in losses}
        return compute.mean(losses), times

    def _start(self, resume: bool) -> int:
        kept = run_folder.read_state(self.folder)
        is_first = self.stage.compute.is_first
        if kept is None:
            if is_first:
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
        if is_first:
            run_folder.forget_after(self.folder, step)
        return step

    def _board(self, start: int) -> AbstractContextManager[Board]:
        """TensorBoard, if it is asked for and this process writes."""
        asked = self.settings.tensorboard and self.stage.compute.is_first
        return open_board(self.folder, start) if asked else nullcontext(Board())

    def _check(self, losses: Mapping[str, float], step: int) -> None:
        broken = [name for name, value in losses.items() if not math.isfinite(value)]
        if broken:
            raise LipsyncError(
                f"{self.folder}: loss '{', '.join(broken)}' is not a number at step {step + 1}; the state of "
                "the last save is kept: start a new run with a lower learning rate"
            )

    def _between_steps(self, done: int, board: Board) -> dict[str, float] | None:
        is_last = done == self.settings.steps
        validates = done % self.settings.validate_every == 0 or is_last
        saves = done % self.settings.save_every == 0 or is_last
        figures = self._validate(done, board) if validates and self.stage.compute.is_first else None
        if saves:
            self.save(done, figures)
        if validates or saves:
            self.stage.compute.meet()
        return figures

    def _validate(self, done: int, board: Board) -> dict[str, float]:
        figures, picture = self.stage.validate(), self.stage.picture()
        better = keeping.better_than_ever(self.folder, figures)
        run_folder.keep_figures(self.folder, done, figures, picture)
        for name in better:
            folder = keeping.best_folder(self.folder, name)
            run_folder.make(folder)
            self.stage.save(folder, {"step": done, **figures})
        if self.write_film is not None:
            for number, film in enumerate(self.stage.films()):
                self.write_film(run_folder.film_path(self.folder, done, number), film)
        board.add(done, figures, picture)
        draw_curves([self.folder], self.folder / "curves.png")
        return figures

    def save(self, step: int, figures: Mapping[str, float] | None = None) -> Path | None:
        """Write state and checkpoint, each under a temporary name first; where the checkpoint is.

        Raises LipsyncError rather than overwrite a good state with weights that are no numbers. None: another
        process does it.
        """
        if not self.stage.compute.is_first:
            return None
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
        path = self.stage.save(self.folder, {"step": step, **(figures or {})})
        keeping.keep_last(path, step, self.settings.keep_last)
        return path


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
