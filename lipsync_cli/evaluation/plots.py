"""Plots of what was measured, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.evaluation.results import ClipResult, Evaluation, OpeningSeries
from lipsync_cli.metrics.sync import REACH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
_SHOWN = ("opening_correlation", "opening_amplitude", "confidence", "offset", "psnr", "ssim")
_SIZE = (9.0, 2.6)  # inches
_BLUE, _RED, _GREY, _BLACK = "#4477aa", "#cc3311", "#aaaaaa", "#222222"


def histograms(evaluation: Evaluation) -> bytes | None:
    """How the clips are spread in the figures that matter most; None where there is none of them."""
    names = [name for name in _SHOWN if name in evaluation.figures]
    if not names:
        return None
    figure = _figure(_SIZE[0], 2.2 * ((len(names) + 2) // 3))
    for place, name in enumerate(names):
        axes = figure.add_subplot((len(names) + 2) // 3, 3, place + 1)
        values = [clip.figures[name] for clip in evaluation.clips if name in clip.figures]
        axes.hist(values, bins=_bins(name, values), color=_BLUE)
        axes.yaxis.set_major_locator(_whole_numbers())
        if place % 3 == 0:
            axes.set_ylabel("clips", fontsize=8)
        axes.axvline(evaluation.figures[name].mean, color=_BLACK, linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    return _png(figure)


def _bins(name: str, values: Sequence[float]) -> Any:
    if name == "offset":  # whole frames
        return np.arange(min(values), max(values) + 2) - 0.5
    return min(20, max(5, len(values) // 2))


def sync_curves(clips: Sequence[ClipResult]) -> bytes | None:
    """Mean score at each offset, and the middle half of the clips; None without a sync network."""
    curves = [clip.sync.scores for clip in clips if clip.sync is not None]
    if not curves:
        return None
    figure = _figure(*_SIZE)
    axes = figure.add_subplot()
    offsets = np.arange(-REACH, REACH + 1)
    stacked = np.ma.masked_invalid(np.stack(curves))
    filled = stacked.filled(np.nan)
    known = np.isfinite(filled).any(axis=0)
    quarters = np.nanpercentile(filled[:, known], [25, 75], axis=0)
    axes.fill_between(offsets[known], *quarters, alpha=0.3, color=_BLUE, label="middle half of the clips")
    axes.plot(offsets, stacked.mean(axis=0), color=_BLUE, label="mean")
    axes.axvline(0, color=_BLACK, linewidth=1)
    axes.set_xlabel("sound shifted by (frames at 25 fps)")
    axes.set_ylabel("sync score")
    axes.legend(fontsize=7)
    return _png(figure)


def openings(series: OpeningSeries) -> bytes:
    """The mouth openings of one clip over time, generated and real."""
    figure = _figure(*_SIZE)
    axes = figure.add_subplot()
    if np.isfinite(series.real).any():
        axes.plot(series.times, series.real, color=_BLACK, linewidth=1, label="real")
    axes.plot(series.times, series.generated, color=_RED, linewidth=1, label="generated")
    axes.set_xlabel("seconds")
    axes.set_ylabel("mouth opening")
    axes.legend(fontsize=7)
    return _png(figure)


def clip_scores(scores: Mapping[str, Sequence[tuple[Floats, Floats]]]) -> bytes:
    """Figure 1 of the paper: {network: [(scores of real pairs, of wrong ones) of each clip]}."""
    figure = _figure(_SIZE[0], 2.6 * len(scores))
    for place, (name, clips) in enumerate(scores.items()):
        axes = figure.add_subplot(len(scores), 1, place + 1)
        for side, (label, colour, shift) in enumerate((("real", _BLUE, -0.12), ("wrong", _GREY, 0.12))):
            numbers = np.concatenate([np.full(len(clip[side]), at) for at, clip in enumerate(clips)]) + 1
            pairs = np.concatenate([clip[side] for clip in clips])
            axes.plot(numbers + shift, pairs, ".", markersize=3, color=colour, label=f"{label} pairs")
            means = [float(clip[side].mean()) for clip in clips]
            axes.plot(np.arange(len(clips)) + 1 + shift, means, "_", markersize=10, color=colour)
        every = np.concatenate([clip[0] for clip in clips])
        axes.axhline(float(every.mean()), color=_BLACK, linewidth=1, label="mean of real pairs")
        axes.set_title(f"{name}: deviation of real pairs {every.std():.3f}", fontsize=9)
        axes.set_ylabel("cosine")
        axes.xaxis.set_major_locator(_whole_numbers())
        if place == len(scores) - 1:
            axes.set_xlabel("clip (a dot is a pair of five pictures and their sound, a dash the clip's mean)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=8)
    _share_y(figure)
    return _png(figure)


def robustness(scores: Mapping[str, Mapping[str, Mapping[str, tuple[Floats, Floats]]]]) -> bytes:
    """Figure 6 of the paper: {change: {network: {pairs: (amounts, mean cosines)}}}."""
    columns = 3
    rows = (len(scores) + columns - 1) // columns
    n_networks = max(len(networks) for networks in scores.values())
    figure = _figure(_SIZE[0], 2.4 * rows + 0.25 * n_networks + 0.2)
    for place, (change, networks) in enumerate(scores.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        for colour, (name, curves) in enumerate(networks.items()):
            for (says, (amounts, means)), line in zip(curves.items(), ("-", "--", ":"), strict=False):
                axes.plot(
                    amounts, means, line, marker=".", linewidth=1, color=f"C{colour}", label=f"{name}, {says}"
                )
        axes.set_title(change, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(color="#dddddd", linewidth=0.5)
        if place % columns == 0:
            axes.set_ylabel("mean cosine", fontsize=8)
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=8)
    _share_y(figure)
    return _png(figure)


def _share_y(figure: Figure) -> None:
    """All plots reach equally high and low, so that they can be compared by eye."""
    limits = [axes.get_ylim() for axes in figure.axes]
    for axes in figure.axes:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _whole_numbers() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
