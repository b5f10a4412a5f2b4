"""`lipsync train`: one stage of the training, into a folder from which it can go on."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lipsync_cli.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from lipsync_cli.training.ahead import StepTimes
    from lipsync_cli.training.loop import Progress

Tell = Callable[["Progress"], None]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(train)


def train(
    stage: Annotated[
        Literal["syncnet", "avsyncnet", "gs", "gl", "lip_reader", "lip_predictor"],
        typer.Option(help="syncnet: Wav2Lip's expert; gs: silent-lip generator; gl: talking-face generator."),
    ],
    data: Annotated[Path, typer.Option(help="A cache of `lipsync prepare`.", readable=False)],
    out: Annotated[
        Path,
        typer.Option(help="Folder of the run: checkpoint, state, log, figures, samples.", readable=False),
    ],
    config: Annotated[
        str | None,
        typer.Option(
            help="A TOML file, or one of default, small, paper, ablations/a to h, ablations/fr1 to fr3."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting (repeatable).")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps in all.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of samples, dropout and first weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    avsyncnet: Annotated[
        str | None, typer.Option(metavar="FILE", help="Trained by stage avsyncnet (for gs, gl).")
    ] = None,
    silent_lip: Annotated[
        str | None, typer.Option(metavar="FILE", help="Trained by stage gs (for gl of the paper).")
    ] = None,
    lip_reader: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Trained by stage lip_reader (for the default generator)."),
    ] = None,
    lip_predictor: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Trained by stage lip_predictor (for the default generator)."),
    ] = None,
    syncnet: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Trained by stage syncnet, or Wav2Lip's (gl: setups A to G)."),
    ] = None,
    vgg: Annotated[
        str | None, typer.Option(metavar="FILE", help="VGG-19 or VGG-16 (for gs, gl of the paper).")
    ] = None,
    device: Annotated[Literal["auto", "cuda", "mps", "cpu"], typer.Option(help="Where to compute.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], typer.Option(help="What networks compute in.")
    ] = "auto",
    log_every: Annotated[
        int, typer.Option(min=1, help="Steps between lines of progress where stderr is no terminal.")
    ] = 50,
) -> None:
    """Train one stage. Ctrl-C saves the state; the same command with --resume goes on."""
    from lipsync_cli.assembly_training import TrainJob, plan_training
    from lipsync_cli.training.stages import AskedSettings

    flags = {
        "loop.steps": steps,
        "loop.seed": seed,
        "avsyncnet": avsyncnet,
        "silent_lip": silent_lip,
        "lip_reader": lip_reader,
        "lip_predictor": lip_predictor,
        "syncnet": syncnet,
        "vgg": vgg,
    }
    asked = AskedSettings(stage=stage, config=config, overrides=tuple(set_ or ()), flags=flags)
    job = TrainJob(asked=asked, data=data, folder=out, resume=resume, device=device, precision=precision)
    training = plan_training(job)
    tells = training.is_first
    for note in training.notes if tells else ():
        console.message(note)
    with _stop_signal() as received, _teller(stage, log_every) as tell:
        done = training.go(tell if tells else _say_nothing, lambda: bool(received))
    n_steps = training.run.settings.steps
    if done < n_steps:
        if tells:
            console.message(f"stopped after {done} of {n_steps} steps: --resume goes on from here")
        raise typer.Exit(128 + (received[0] if received else signal.SIGTERM))
    if tells:
        console.result(f"{stage}: {done} steps, {next(out.glob('*.safetensors'), out)}")


def _say_nothing(progress: Progress) -> None:
    """Of several processes the first one tells."""


@contextmanager
def _stop_signal() -> Iterator[list[int]]:
    """Fills with the number of the first SIGINT or SIGTERM; a second one interrupts at once."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        console.message("stopping after this step (once more: at once, back to the last save)")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _teller(stage: str, log_every: int) -> Iterator[Tell]:
    """Tells of progress on stderr: a bar on a terminal, else a line every few steps; figures as they come."""
    with _bars() as bars:
        task = bars.add_task(stage, total=None, losses="")
        pace = _Pace()

        def tell(progress: Progress) -> None:
            losses, speed = _listed(progress.losses), pace.told(progress)
            if bars.tasks[task].total is None:
                bars.reset(task, completed=progress.step, total=progress.steps)
            bars.update(task, completed=progress.step, losses=losses)
            if bars.disable and (progress.step % log_every == 0 or progress.step == progress.steps):
                console.message(f"step {progress.step}/{progress.steps}  {losses}  {speed}")
            if progress.figures:
                console.message(f"step {progress.step}: {_listed(progress.figures)}")
            if progress.remark:
                console.message(f"step {progress.step}: {progress.remark}")

        yield tell


class _Pace:
    """Where the time of the last steps went, and the time left; by the middle one, without validations."""

    def __init__(self) -> None:
        self._last: deque[StepTimes] = deque(maxlen=50)

    def told(self, progress: Progress) -> str:
        """Call it after every step."""
        self._last.append(progress.times)
        pace = median(times.total for times in self._last)
        left = timedelta(seconds=round(pace * (progress.steps - progress.step)))
        parts = (
            (name, median(getattr(times, name) for times in self._last))
            for name in ("data", "forward", "backward")
        )
        shares = ", ".join(f"{name} {1000 * seconds:.0f}" for name, seconds in parts)
        return f"{1000 * pace:.0f} ms a step ({shares}), {left} left"


@contextmanager
def _bars() -> Iterator[Bars]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    stderr = console.messages()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}", markup=False),
    )
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as bars:
        yield bars


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
