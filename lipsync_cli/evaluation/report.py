"""Tells what was measured: a table for the terminal, JSON, CSV, and the openings of each clip."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation.figures import FIGURES
from lipsync_cli.evaluation.results import ClipResult, Evaluation, OpeningSeries, outcome_to_json
from lipsync_cli.metrics.base import Summary

PAPER_COLUMNS = ("ssim", "psnr", "fid", "ifc", "lmd", "lse_c", "lse_d")
PAPER: Mapping[str, tuple[float, ...]] = {
    "Wav2Lip": (0.86, 26.53, 7.05, 0.21, 2.38, 7.59, 6.75),
    "PC-AVS": (0.73, 28.24, 18.40, 0.46, 1.93, 6.41, 7.52),
    "VideoReTalking": (0.84, 25.58, 9.28, 0.22, 2.61, 7.49, 6.82),
    "DINet": (0.78, 24.35, 4.26, 0.25, 2.30, 5.37, 8.37),
    "TalkLip": (0.86, 26.11, 4.94, 0.24, 2.34, 8.53, 6.08),
    "IPLAP": (0.87, 29.67, 4.10, 0.20, 2.11, 6.49, 7.16),
    "the paper, without restoration": (0.95, 32.64, 3.83, 0.16, 1.13, 8.41, 6.03),
    "the paper, with VQFR": (0.90, 31.80, 5.23, 0.27, 1.36, 8.52, 5.83),
}
"""Table 1 of the paper, LRS2: to look at, not to compare with (other people, crops and definitions)."""

_PACKAGES = ("av", "numpy", "opencv-python-headless", "torch")
_ARROWS = {"higher": "higher", "lower": "lower", "one": "near 1", "zero": "near 0", None: ""}
_MOST_REASONS = 12


def table(evaluation: Evaluation) -> list[str]:
    """Lines for a terminal: each figure with its interval, then the clips that were left out and why."""
    rows: list[tuple[str, ...]] = [("figure", "mean", "95 % interval", "median", "clips", "better", "")]
    for name, summary in evaluation.figures.items():
        rows.append(_row(name, summary))
    lines = _aligned(rows)
    lines += ["", f"{len(evaluation.clips)} clips measured, {len(evaluation.left_out)} left out"]
    lines += _reasons([f"{each.name}: {each.reason}" for each in evaluation.left_out])
    partly = Counter(
        f"{what}: {reason}" for clip in evaluation.clips for what, reason in clip.left_out.items()
    )
    if partly:
        lines.append("not measured in some clips:")
        lines += _reasons([f"{reason} ({count} clips)" for reason, count in partly.most_common()])
    return lines


def video_table(clip: ClipResult) -> list[str]:
    """Lines for a terminal: the figures of a single video and its sync second by second."""
    rows: list[tuple[str, ...]] = [("figure", "value", "unit", "")]
    for name, figure in FIGURES.items():
        if name in clip.figures:
            rows.append((name, _number(clip.figures[name]), figure.unit, figure.says))
    lines = _aligned(rows)
    if clip.sync is not None:
        lines += ["", "second  score  offset"]
        for each in clip.sync.seconds:
            offset = "-" if each.offset is None else f"{each.offset:+d}"
            lines.append(f"{each.start:6.0f}  {each.score:5.3f}  {offset:>6}")
    return lines


def paper_table() -> list[str]:
    """Lines for a terminal: table 1 of the paper (LRS2)."""
    rows: list[tuple[str, ...]] = [("paper, table 1, LRS2", *PAPER_COLUMNS, "")]
    rows += [(name, *(f"{value:.2f}" for value in values), "") for name, values in PAPER.items()]
    return _aligned(rows)


def as_json(evaluation: Evaluation, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything as plain values.

    `metrics` {name: {mean, median, low, high, n, unit, better, says}}, `clips` (figures, series and
    reasons of each), `left_out` [{clip, what, reason}] (what: `all` or a figure), `n_clips`, `n_left_out`,
    `settings`, `versions`.
    """
    left_out = [{"clip": each.name, "what": "all", "reason": each.reason} for each in evaluation.left_out]
    left_out += [
        {"clip": clip.name, "what": what, "reason": reason}
        for clip in evaluation.clips
        for what, reason in clip.left_out.items()
    ]
    return {
        "metrics": {name: _summary(name, summary) for name, summary in evaluation.figures.items()},
        "clips": [outcome_to_json(clip) for clip in evaluation.clips],
        "left_out": left_out,
        "n_clips": len(evaluation.clips),
        "n_left_out": len(evaluation.left_out),
        "settings": dict(settings),
        "versions": _versions(),
    }


def as_csv(evaluation: Evaluation) -> str:
    """One row a clip: name, frames, all figures, reasons; clips left out have their reason only."""
    columns = [name for name in FIGURES if name in evaluation.figures]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["clip", "n_frames", "own_offset", *columns, "left_out"])
    for clip in evaluation.clips:
        reasons = "; ".join(f"{what}: {reason}" for what, reason in clip.left_out.items())
        values = [clip.figures.get(name, "") for name in columns]
        writer.writerow([clip.name, clip.n_frames, clip.own_offset, *values, reasons])
    for each in evaluation.left_out:
        writer.writerow([each.name, 0, "", *[""] * len(columns), f"all: {each.reason}"])
    return text.getvalue()


def series_csv(series: OpeningSeries) -> str:
    """Rows of time (s), generated and real mouth opening (over face height; empty where not known)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time", "generated", "real"])
    for time, generated, real in zip(series.times, series.generated, series.real, strict=True):
        writer.writerow([f"{time:.4f}", f"{generated:.6f}", "" if real != real else f"{real:.6f}"])
    return text.getvalue()


def write_series(clips: Iterable[ClipResult], folder: Path) -> None:
    """`NAME.csv` of each clip's openings in a folder, which is made where it is absent.

    Raises DataError when it cannot be written.
    """
    for clip in clips:
        if clip.series is not None:
            path = folder / f"{clip.name}.csv"
            write_text(path, series_csv(clip.series), make_folder=True)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """A JSON file, without NaN. Raises DataError when it cannot be written."""
    write_text(path, json.dumps(values, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str, *, make_folder: bool = False) -> None:
    """The file appears under its name only when it is whole. Raises DataError when it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({error.strerror}); give another place") from error


def check_writable(path: Path) -> None:
    """Find out before any work whether a report can be written there. Raises DataError when not."""
    folder = path.resolve().parent
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the name of a file in it")
    if not folder.is_dir():
        raise DataError(f"{path}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{path}: not permitted to write in {folder}; choose another folder")


def _row(name: str, summary: Summary) -> tuple[str, ...]:
    figure = FIGURES[name]
    says = f"{figure.says}, {figure.unit}" if figure.unit else figure.says
    interval = f"{_number(summary.low)} .. {_number(summary.high)}"
    return (
        name,
        _number(summary.mean),
        interval,
        _number(summary.median),
        str(summary.n),
        _ARROWS[figure.better],
        says,
    )


def _summary(name: str, summary: Summary) -> dict[str, Any]:
    figure = FIGURES[name]
    return {
        "mean": summary.mean,
        "median": summary.median,
        "low": summary.low,
        "high": summary.high,
        "n": summary.n,
        "unit": figure.unit,
        "better": figure.better,
        "says": figure.says,
    }


def _number(value: float) -> str:
    """Four digits that tell something."""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return lines


def _reasons(reasons: Sequence[str]) -> list[str]:
    lines = [f"  {reason}" for reason in reasons[:_MOST_REASONS]]
    if len(reasons) > _MOST_REASONS:
        lines.append(f"  ... and {len(reasons) - _MOST_REASONS} more (all of them are in --json and --csv)")
    return lines


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("lipsync_cli", *_PACKAGES):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # run from its source folder, or under another name of the same package
            versions[name] = "unknown"
    return versions
