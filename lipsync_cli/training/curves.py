"""Loss curves and figures of runs, as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.data.corpora.source import check_permitted
from lipsync_cli.errors import DataError
from lipsync_cli.training.run_folder import kept_figures, log_rows, write_bytes

_COLUMNS = 4
_POINTS = 300  # at most so many points of a curve are drawn: means over as many stretches of steps
_TIMES = ("step", "seconds")


def draw_curves(runs: Sequence[Path], picture: Path) -> None:
    """One plot for each loss and each figure over the minutes of training, one line for each run (PNG).

    Raises DataError when a folder has no log, or the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    losses = [_losses(run) for run in runs]
    figures = [_figures(run, loss) for run, loss in zip(runs, losses, strict=True)]
    names = _in_order(losses), _in_order(figures)
    n_plots = sum(map(len, names))
    n_rows = -(-n_plots // _COLUMNS)
    figure = Figure(figsize=(3.6 * _COLUMNS, 2.6 * n_rows), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows, _COLUMNS, squeeze=False).flat
    for tables, some, mark in ((losses, names[0], ""), (figures, names[1], "o")):
        for name in some:
            _draw(next(axes), name, runs, tables, mark)
    for left in axes:
        left.set_axis_off()
    if len(runs) > 1:
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    _write(canvas, picture)


def _draw(axis: Any, name: str, runs: Sequence[Path], tables: Sequence[dict[str, Any]], mark: str) -> None:
    for run, table in zip(runs, tables, strict=True):
        if name in table:
            axis.plot(table["seconds"] / 60, table[name], mark + "-", label=run.name, markersize=3)
        else:
            axis.plot([], [], label=run.name)  # so that colours and the legend stay those of the runs
    axis.set_title(name, fontsize=9)
    axis.set_xlabel("minutes", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)


def _losses(run: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of log.csv, averaged over stretches of steps; `step` and `seconds` at their ends."""
    check_permitted(run)
    rows = list(csv.DictReader(log_rows(run)))
    if not rows:
        raise DataError(f"{run}: no run with a log (log.csv): name a folder of 'lipsync train'")
    length = -(-len(rows) // _POINTS)
    stretches = [rows[start : start + length] for start in range(0, len(rows), length)]
    names = [name for name in rows[0] if not name.endswith("_ms")]
    table = {
        name: np.array([np.mean([float(row[name]) for row in some]) for some in stretches]) for name in names
    }
    for name in _TIMES:
        table[name] = np.array([float(some[-1][name]) for some in stretches])
    return table


def _figures(run: Path, losses: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Figures of the validations, at the seconds that the log has for their steps."""
    kept = kept_figures(run)
    if not kept:
        return {}
    table = {name: np.array([one.get(name, np.nan) for one in kept]) for name in kept[-1]}
    table["seconds"] = np.interp(table["step"], losses["step"], losses["seconds"])
    return table


def _in_order(tables: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table if name not in _TIMES))


def _write(canvas: Any, picture: Path) -> None:
    content = io.BytesIO()
    canvas.print_png(content)
    write_bytes(picture, content.getbuffer())
