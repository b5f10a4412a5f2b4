"""TensorBoard beside the run's own log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lipsync_cli.errors import SettingsError
from lipsync_cli.interfaces import Image

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board:
    """Takes numbers and pictures; this one forgets them."""

    def add(self, step: int, values: Mapping[str, float], picture: Image | None = None) -> None:
        """Losses, or figures with a sheet of samples."""


class TensorBoard(Board):
    """Keeps them as events."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def add(self, step: int, values: Mapping[str, float], picture: Image | None = None) -> None:
        """As `Board.add`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if picture is not None:
            self._writer.add_image("samples", picture, step, dataformats="HWC")


@contextmanager
def open_board(folder: Path, start: int) -> Iterator[Board]:
    """RUN/tensorboard, from a step on: what an earlier start wrote of later steps is dropped.

    Raises SettingsError when TensorBoard is not installed.
    """
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
    try:
        yield TensorBoard(writer)
    finally:
        writer.close()


def require_tensorboard() -> None:
    """Raises SettingsError when TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise SettingsError(
            "loop.tensorboard is set, but TensorBoard is not installed: pip install 'lipsync_cli[train]', or "
            "leave it out (log.csv, figures.jsonl and curves.png are written in any case)"
        )
