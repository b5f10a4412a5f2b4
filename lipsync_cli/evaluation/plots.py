"""Plots of what was measured, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.evaluation.results import ClipResult, Evaluation, OpeningSeries
from lipsync_cli.metrics.sync import REACH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
_SHOWN = ("opening_correlation", "opening_amplitude", "confidence", "offset", "psnr", "ssim")
_SIZE = (9.0, 2.6)  # inches


def histograms(evaluation: Evaluation) -> bytes | None:
    """How the clips are spread in the figures that matter most; None where there is none of them."""
    names = [name for name in _SHOWN if name in evaluation.figures]
    if not names:
        return None
    figure = _figure(_SIZE[0], 2.2 * ((len(names) + 2) // 3))
    for place, name in enumerate(names):
        axes = figure.add_subplot((len(names) + 2) // 3, 3, place + 1)
        values = [clip.figures[name] for clip in evaluation.clips if name in clip.figures]
        axes.hist(values, bins=min(20, max(5, len(values) // 2)), color="#4477aa")
        axes.axvline(evaluation.figures[name].mean, color="#222222", linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    return _png(figure)


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
    axes.fill_between(offsets[known], *quarters, alpha=0.3, color="#4477aa", label="middle half of the clips")
    axes.plot(offsets, stacked.mean(axis=0), color="#4477aa", label="mean")
    axes.axvline(0, color="#222222", linewidth=1)
    axes.set_xlabel("sound shifted by (frames at 25 fps)")
    axes.set_ylabel("sync score")
    axes.legend(fontsize=7)
    return _png(figure)


def openings(series: OpeningSeries) -> bytes:
    """The mouth openings of one clip over time, generated and real."""
    figure = _figure(*_SIZE)
    axes = figure.add_subplot()
    if np.isfinite(series.real).any():
        axes.plot(series.times, series.real, color="#222222", linewidth=1, label="real")
    axes.plot(series.times, series.generated, color="#cc3311", linewidth=1, label="generated")
    axes.set_xlabel("seconds")
    axes.set_ylabel("mouth opening")
    axes.legend(fontsize=7)
    return _png(figure)


def clip_scores(scores: Mapping[str, Floats], title: str) -> bytes:
    """Figure 1 of the paper: the score of each real clip, network by network."""
    figure = _figure(_SIZE[0], 2.4 * len(scores))
    for place, (name, values) in enumerate(scores.items()):
        axes = figure.add_subplot(len(scores), 1, place + 1)
        axes.plot(values, ".", markersize=3, color="#4477aa")
        axes.axhline(float(values.mean()), color="#222222", linewidth=1)
        axes.set_ylim(min(0.0, float(values.min())) - 0.05, 1.05)
        axes.set_title(f"{name}: {title}", fontsize=9)
        axes.set_ylabel("cosine")
        axes.set_xlabel("pair of five frames and their sound")
    return _png(figure)


def robustness(
    scores: Mapping[str, Mapping[str, tuple[Floats, Floats]]], reading: str = "mean cosine of real pairs"
) -> bytes:
    """Figure 6 of the paper: {change: {network: (values, scores)}}."""
    columns = 3
    rows = (len(scores) + columns - 1) // columns
    figure = _figure(_SIZE[0], 2.6 * rows)
    for place, (change, networks) in enumerate(scores.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        for name, (values, means) in networks.items():
            axes.plot(values, means, marker=".", linewidth=1, label=name)
        axes.set_title(change, fontsize=9)
        axes.tick_params(labelsize=7)
        if place % columns == 0:
            axes.set_ylabel(reading, fontsize=7)
        if place == 0:
            axes.legend(fontsize=6)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
