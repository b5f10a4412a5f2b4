"""Plots of a checked cache, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lipsync_cli.data.check import CacheFigures
from lipsync_cli.data.check_report import Distribution, Floats, distributions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 3
_MOST_SPEAKERS = 40  # bars that can be read
_BLUE, _DOUBTFUL = "#4477aa", "#cc3311"


def draw_plots(found: CacheFigures) -> dict[str, bytes]:
    """Name of the file -> picture: one for each figure, the speakers, and all of them on one page.

    Of a figure that was not measured there is none.
    """
    spread = {name: one for name, one in distributions(found).items() if len(one.values)}
    plots = {f"{name}.png": _alone(one) for name, one in spread.items()}
    plots["speakers.png"] = _speakers_alone(found.speakers)
    plots["overview.png"] = _overview(spread, found.speakers)
    return plots


def _overview(spread: Mapping[str, Distribution], speakers: Mapping[str, int]) -> bytes:
    n_rows = -(-(len(spread) + 1) // _COLUMNS)
    figure = _figure(4.2 * _COLUMNS, 2.9 * n_rows)
    axes = iter(figure.subplots(n_rows, _COLUMNS, squeeze=False).flat)
    for one in spread.values():
        _histogram(next(axes), one)
    _speakers(next(axes), speakers)
    for left in axes:
        left.set_axis_off()
    return _png(figure)


def _alone(one: Distribution) -> bytes:
    figure = _figure(7.0, 4.0)
    _histogram(figure.add_subplot(), one)
    return _png(figure)


def _speakers_alone(speakers: Mapping[str, int]) -> bytes:
    figure = _figure(7.0, max(4.0, 0.2 * min(len(speakers), _MOST_SPEAKERS)))
    _speakers(figure.add_subplot(), speakers)
    return _png(figure)


def _histogram(axes: Any, one: Distribution) -> None:
    """Clips by their value; what lies in the red is doubtful."""
    axes.set_title(f"{one.title} (median {np.median(one.values):.3g})", fontsize=10)
    axes.hist(one.values, bins=_edges(one), color=_BLUE, edgecolor="white", linewidth=0.3)
    low, high = axes.get_xlim()
    if one.lowest is not None and low < one.lowest:
        axes.axvspan(low, min(one.lowest, high), color=_DOUBTFUL, alpha=0.15, linewidth=0)
    if one.highest is not None and high > one.highest:
        axes.axvspan(max(one.highest, low), high, color=_DOUBTFUL, alpha=0.15, linewidth=0)
    axes.set_xlim(low, high)
    axes.axvline(float(np.median(one.values)), color="#222222", linewidth=1)
    axes.set_ylabel("clips", fontsize=8)
    axes.yaxis.get_major_locator().set_params(integer=True)
    if _is_whole(one.values):
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=8)


def _edges(one: Distribution) -> Any:
    """Whole numbers in the middle of their bars, some empty ones on either side; else up to 40 bars."""
    low, high = float(one.values.min()), float(one.values.max())
    if _is_whole(one.values) and high - low <= 60:
        return np.arange(low - 3.5, high + 4)
    return int(np.clip(len(one.values), 16, 40))


def _is_whole(values: Floats) -> bool:
    return bool(np.array_equal(values, values.round()))


def _speakers(axes: Any, speakers: Mapping[str, int]) -> None:
    """Clips of each; of very many speakers only how many have how many."""
    if len(speakers) > _MOST_SPEAKERS:
        _histogram(axes, Distribution("clips of a speaker", np.array(list(speakers.values()), np.float64)))
        axes.set_ylabel("speakers", fontsize=8)
        return
    ranked = sorted(speakers.items(), key=lambda item: (item[1], item[0]))
    bars = axes.barh([name for name, _ in ranked], [count for _, count in ranked], color=_BLUE)
    axes.bar_label(bars, fontsize=7, padding=2)
    axes.margins(x=0.1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(f"clips of the {len(speakers)} speakers", fontsize=10)
    axes.tick_params(labelsize=8 if len(speakers) <= 12 else 6)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
