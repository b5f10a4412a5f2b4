"""Tells what was measured: a table for the terminal, JSON, CSV, and the openings of each clip."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation.figures import FIGURES, empty_columns
from lipsync_cli.evaluation.results import ClipResult, Evaluation, OpeningSeries, outcome_to_json
from lipsync_cli.metrics.base import Summary
from lipsync_cli.whole_file import whole_file

_PACKAGES = ("av", "numpy", "opencv-python-headless", "torch")
ARROWS: Mapping[str | None, str] = {
    "higher": "higher",
    "lower": "lower",
    "one": "near 1",
    "zero": "near 0",
    None: "",
}
"""Which way is better, in words."""
_MOST_REASONS = 12


def table(evaluation: Evaluation) -> list[str]:
    """Lines for a terminal: each figure with its interval, then the clips that were left out and why."""
    rows: list[tuple[str, ...]] = [("figure", "mean", "95 % interval", "median", "clips", "better", "")]
    for name, summary in evaluation.figures.items():
        rows.append(_row(name, summary))
    lines = aligned(rows)
    lines += ["", f"{len(evaluation.clips)} clips measured, {len(evaluation.left_out)} left out"]
    lines += _reasons([f"{each.name}: {each.reason}" for each in evaluation.left_out])
    partly = Counter(
        f"{what}: {reason}" for clip in evaluation.clips for what, reason in clip.left_out.items()
    )
    if partly:
        lines.append("not measured in some clips:")
        counted = [(reason, f"{n} clip{'s' if n > 1 else ''}") for reason, n in partly.most_common()]
        lines += _reasons([f"{reason} ({count})" for reason, count in counted])
    return lines


def video_table(clip: ClipResult) -> list[str]:
    """Lines for a terminal: the figures of a single video and its sync second by second."""
    rows: list[tuple[str, ...]] = [("figure", "value", "unit", "")]
    for name, figure in FIGURES.items():
        if name in clip.figures:
            rows.append((name, number(clip.figures[name]), figure.unit, figure.says))
    lines = aligned(rows)
    if clip.sync is not None:
        lines += ["", "second  score  offset"]
        for each in clip.sync.seconds:
            offset = "-" if each.offset is None else f"{each.offset:+d}"
            lines.append(f"{each.start:6.0f}  {each.score:5.3f}  {offset:>6}")
    empty = empty_columns(clip.figures, ("lse_c", "lse_d")) if "lse" not in clip.left_out else {}
    lines += [f"no {columns}: filled by {remedy}" for columns, remedy in empty.items()]
    return lines


def difference_table(differences: Mapping[str, Summary], other: str) -> list[str]:
    """Lines for a terminal: this method less the other one, clip by clip, in what is better or worse."""
    rows: list[tuple[str, ...]] = [("difference", "mean", "95 % interval", "clips", "better", "")]
    for name, summary in judged(differences).items():
        interval = f"{number(summary.low)} .. {number(summary.high)}"
        rows.append(
            (
                name,
                number(summary.mean),
                interval,
                str(summary.n),
                ARROWS[FIGURES[name].better],
                verdict(name, summary),
            )
        )
    return [f"this one less {other}, paired by clip:", *aligned(rows)]


def judged(differences: Mapping[str, Summary]) -> dict[str, Summary]:
    """Those of figures that can be better or worse: of the others (facts of the real videos) none is told."""
    return {name: summary for name, summary in differences.items() if FIGURES[name].better is not None}


def verdict(name: str, summary: Summary) -> str:
    """What the interval of a difference says of the first method."""
    if summary.low <= 0 <= summary.high:
        return "no difference shown"
    if FIGURES[name].better in ("one", "zero"):
        return "they differ"
    return "better" if (summary.mean > 0) == (FIGURES[name].better == "higher") else "worse"


def read_figures(path: Path) -> dict[str, dict[str, float]]:
    """Clip -> figures of a report written with --json. Raises DataError when it is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        clips = {str(clip["clip"]): dict(clip["figures"]) for clip in values["clips"]}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no report of lipsync eval --json ({error!r})") from error
    return clips


def as_json(
    evaluation: Evaluation, settings: Mapping[str, Any], differences: Mapping[str, Summary] | None = None
) -> dict[str, Any]:
    """Everything as plain values.

    `metrics` {name: {mean, median, low, high, n, unit, better, says}}, `clips` (figures, series and
    reasons of each), `left_out` [{clip, what, reason}] (what: `all` or a figure), `n_clips`, `n_left_out`,
    `settings`, `versions`; `not_measured` {columns: what would fill them}; `differences` (as `metrics`) where
    another method was named.
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
        "not_measured": empty_columns(evaluation.figures),
        "n_clips": len(evaluation.clips),
        "n_left_out": len(evaluation.left_out),
        "settings": dict(settings),
        "versions": versions(),
        **({"differences": {n: _summary(n, each) for n, each in differences.items()}} if differences else {}),
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
    write_bytes(path, text.encode("utf-8"), make_folder=make_folder)


def write_bytes(path: Path, content: bytes, *, make_folder: bool = False) -> None:
    """As `write_text`."""
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); give another place") from error


def check_writable(path: Path, *, make_folder: bool = False) -> None:
    """Find out before any work whether a report can be written there. Raises DataError when not."""
    folder = path.resolve().parent
    if make_folder:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: cannot be made ({error.strerror}); give another folder") from error
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the name of a file in it")
    if not folder.is_dir():
        raise DataError(f"{path}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{path}: not permitted to write in {folder}; choose another folder")


def _row(name: str, summary: Summary) -> tuple[str, ...]:
    figure = FIGURES[name]
    says = f"{figure.says}, {figure.unit}" if figure.unit else figure.says
    interval = "" if math.isnan(summary.low) else f"{number(summary.low)} .. {number(summary.high)}"
    return (
        name,
        number(summary.mean),
        interval,
        number(summary.median),
        str(summary.n),
        ARROWS[figure.better],
        says,
    )


def _summary(name: str, summary: Summary) -> dict[str, Any]:
    figure = FIGURES[name]
    return {
        "mean": summary.mean,
        "median": summary.median,
        "low": _finite(summary.low),
        "high": _finite(summary.high),
        "n": summary.n,
        "unit": figure.unit,
        "better": figure.better,
        "says": figure.says,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def number(value: float) -> str:
    """Four digits that tell something."""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; the last column is text."""
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


def versions() -> dict[str, str]:
    """Of Python and of what figures come from."""
    found = {"python": platform.python_version()}
    for name in ("lipsync_cli", *_PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from its source folder, or under another name of the same package
            found[name] = "unknown"
    return found
