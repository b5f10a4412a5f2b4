"""A page that shows an evaluation: plots inside, videos of the worst and best clips beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from lipsync_cli.errors import DataError, LipsyncError
from lipsync_cli.evaluation import plots
from lipsync_cli.evaluation.figures import FIGURES, empty_columns
from lipsync_cli.evaluation.folders import Pair
from lipsync_cli.evaluation.pairing import pair_frames
from lipsync_cli.evaluation.paper import COLUMNS, COLUMNS_2, TABLE_1, TABLE_2, column_cells
from lipsync_cli.evaluation.report import ARROWS, judged, number, verdict, versions, write_text
from lipsync_cli.evaluation.results import ClipResult, Evaluation
from lipsync_cli.interfaces import Frame, Image
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.metrics.base import Summary

SHOWN = 3
"""Worst clips, and as many of the best."""
_RANKED_BY = ("opening_correlation", "confidence", "ssim")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0;display:block;overflow-x:auto}"
    "td,th{padding:.15em .8em;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap;"
    "vertical-align:top;font-variant-numeric:tabular-nums}"
    "td:first-child,th:first-child,td.t,th.t{text-align:left}"
    "td.t,th.t{white-space:normal;overflow-wrap:anywhere}td.t:last-child{min-width:18em}"
    "tr.own{font-weight:bold}p.note{border-left:4px solid #cc3311;padding-left:1em}"
    "img,video{max-width:100%}video{width:60em}code{overflow-wrap:anywhere}"
)


def write_page(
    folder: Path,
    evaluation: Evaluation,
    pairs: Sequence[Pair],
    settings: Mapping[str, str],
    differences: Mapping[str, Summary],
) -> None:
    """`index.html` and `clips/*.mp4` in a folder, which is made where it is absent.

    Plots are inside of the page, which asks no server for anything. Ranks go by the correlation of the mouth
    openings (else the confidence, else SSIM).

    Raises DataError when it cannot be written.
    """
    ranked_by, ranked = _ranked(evaluation)
    body = [
        "<h1>lipsync eval</h1>",
        f"<p>{_measured(settings)}: {len(evaluation.clips)} clips measured, "
        f"{len(evaluation.left_out)} left out. Intervals: 95 % bootstrap of the mean over clips.</p>",
        f'<p class="note">Note: {escape(settings["note"])}.</p>' if "note" in settings else "",
        "<h2>Figures</h2>",
        _summaries(evaluation.figures),
    ]
    if differences:
        against = escape(settings.get("against", ""))
        body += [f"<h2>Less {against}, clip by clip</h2>", _differences(differences)]
    for title, picture in (
        ("How the clips are spread", plots.histograms(evaluation)),
        ("Lips and sound at each offset", plots.sync_curves(evaluation.clips)),
    ):
        if picture is not None:
            body += [f"<h2>{title}</h2>", _inline(picture, title)]
    body += _clips(folder, ranked, ranked_by, {pair.name: pair for pair in pairs})
    body += _left_out(evaluation)
    body += [*_paper(evaluation), "<h2>Settings and networks</h2>"]
    body += [_facts(settings), "<h2>Versions</h2>", _facts(versions())]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>lipsync eval</title>'
        f"<style>{_STYLE}</style><body>{''.join(body)}</body></html>\n"
    )
    write_text(folder / "index.html", page, make_folder=True)


def _ranked(evaluation: Evaluation) -> tuple[str, list[ClipResult]]:
    """The figure that ranks, and the clips that have it from worst to best."""
    for name in _RANKED_BY:
        clips = [clip for clip in evaluation.clips if name in clip.figures]
        if clips:
            return name, sorted(clips, key=lambda clip: clip.figures[name])
    return "", list(evaluation.clips)


def _clips(
    folder: Path, ranked: Sequence[ClipResult], ranked_by: str, pairs: Mapping[str, Pair]
) -> list[str]:
    n_worst = min(SHOWN, (len(ranked) + 1) // 2)
    n_best = min(SHOWN, len(ranked) - n_worst)
    parts: list[str] = []
    for title, clips in (("Worst", ranked[:n_worst]), ("Best", ranked[len(ranked) - n_best :][::-1])):
        if clips:
            parts.append(f"<h2>{title} clips by {ranked_by or 'name'}</h2>")
        for clip in clips:
            value = f", {ranked_by} {number(clip.figures[ranked_by])}" if ranked_by else ""
            parts.append(f"<h3>{escape(clip.name)}{value}</h3>")
            if clip.name in pairs:
                parts.append(_video(folder, pairs[clip.name], clip.name))
            if clip.series is not None:
                parts.append(_inline(plots.openings(clip.series), "mouth openings"))
    return parts


def _video(folder: Path, pair: Pair, name: str) -> str:
    file = f"clips/{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}.mp4"
    try:
        side_by_side(pair.reference, pair.generated, folder / file)
    except LipsyncError as error:
        return f"<p>No video: {escape(str(error))}</p>"
    return (
        f'<video controls preload="metadata" src="{file}"></video><p>Left the real video, right the generated'
        " one, with its sound.</p>"
    )


def side_by_side(reference: Path, generated: Path, output: Path) -> None:
    """A video of both: the real one on the left, the generated one on the right with its sound.

    Where the real one has no frame at that time, its side is black. Raises MediaError or DataError.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{output.parent}: cannot be made ({error.strerror})") from error
    streams = VideoReader(reference), VideoReader(generated)
    info = streams[1].info
    frames = pair_frames(*streams, tolerance=float(1 / streams[0].info.rate) / 2)
    with VideoWriter(
        output,
        width=2 * info.width,
        height=info.height,
        rate=info.rate,
        speech=_sound(generated),
        crf=20,
    ) as writer:
        for real, made in frames:
            left = np.zeros_like(made.image) if real is None else _sized(real.image, info.width, info.height)
            writer.write(Frame(made.index, made.time, np.hstack([left, made.image])))


def _sound(video: Path) -> Path | None:
    from lipsync_cli.media.probe import probe_audio

    try:
        return video if probe_audio(video).duration > 0 else None
    except LipsyncError:  # a silent film is shown as such; its own reason stands beside its figures
        return None


def _sized(image: Image, width: int, height: int) -> Image:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _measured(settings: Mapping[str, str]) -> str:
    """What the page is about, in words."""
    given = {name: escape(settings.get(name, "")) for name in ("dataset", "split", "generated", "video")}
    if given["dataset"]:
        what = settings.get("baseline") or f"dubbed by {settings.get('model', '')}"
        split = f", {given['split']}" if given["split"] else ""
        return f"{given['dataset']}{split}, {escape(what)}"
    return given["generated"] or given["video"] or "Videos"


def _summaries(figures: Mapping[str, Summary]) -> str:
    rows = []
    for name, summary in figures.items():
        figure = FIGURES[name]
        says = f"{figure.says}, {figure.unit}" if figure.unit else figure.says
        cells = [name, number(summary.mean), _interval(summary), number(summary.median), str(summary.n)]
        rows.append([*cells, ARROWS[figure.better], says])
    return _table(["figure", "mean", "95 % interval", "median", "clips", "better", "says"], rows, n_texts=1)


def _differences(differences: Mapping[str, Summary]) -> str:
    rows = [
        [
            name,
            number(each.mean),
            _interval(each),
            str(each.n),
            ARROWS[FIGURES[name].better],
            verdict(name, each),
        ]
        for name, each in judged(differences).items()
    ]
    return _table(["figure", "difference", "95 % interval", "clips", "better", "this one"], rows, n_texts=1)


def _interval(summary: Summary) -> str:
    return "" if np.isnan(summary.low) else f"{number(summary.low)} to {number(summary.high)}"


def _paper(evaluation: Evaluation) -> list[str]:
    """What was measured in the order of the paper's columns, above what it reports."""
    own = ["these clips", *column_cells(evaluation.figures)]
    parts = ["<h2>Beside the paper's tables</h2>", "<p>Other people, crops and definitions: to look at."]
    for columns, remedy in empty_columns(evaluation.figures).items():
        parts.append(f"<br>No {columns}: filled by <code>{escape(remedy)}</code>.")
    parts.append("</p>")
    for corpus, methods in TABLE_1.items():
        rows = [own, *([name, *(f"{value:.2f}" for value in values)] for name, values in methods.items())]
        parts += [f"<h3>Table 1, {corpus}</h3>", _table(["method", *COLUMNS], rows, has_own=True)]
    rows = [["these clips", *column_cells(evaluation.figures, COLUMNS_2)]]
    rows += [[name, *(f"{value:.3f}" for value in values)] for name, values in TABLE_2.items()]
    return [*parts, "<h3>Table 2, LRS2</h3>", _table(["setup", *COLUMNS_2], rows, has_own=True)]


def _left_out(evaluation: Evaluation) -> list[str]:
    rows = [[each.name, "all", each.reason] for each in evaluation.left_out]
    rows += [[clip.name, what, why] for clip in evaluation.clips for what, why in clip.left_out.items()]
    return ["<h2>Left out</h2>", _table(["clip", "what", "reason"], rows, n_texts=2)] if rows else []


def _facts(facts: Mapping[str, str]) -> str:
    return (
        "<ul>"
        + "".join(f"<li>{escape(k)}: <code>{escape(v)}</code></li>" for k, v in facts.items())
        + "</ul>"
    )


def _table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, n_texts: int = 0, has_own: bool = False
) -> str:
    """n_texts: so many columns at the end are text; has_own: the first row stands out."""

    def cells(row: Sequence[str], kind: str) -> str:
        texts = len(row) - n_texts
        return "".join(
            f"<{kind}{' class=t' if place >= texts else ''}>{escape(cell)}</{kind}>"
            for place, cell in enumerate(row)
        )

    lines = [
        f"<tr{' class=own' if has_own and not place else ''}>{cells(row, 'td')}</tr>"
        for place, row in enumerate(rows)
    ]
    return f"<table><tr>{cells(head, 'th')}</tr>{''.join(lines)}</table>"


def _inline(picture: bytes, title: str) -> str:
    data = base64.b64encode(picture).decode("ascii")
    return f'<p><img alt="{escape(title)}" src="data:image/png;base64,{data}"></p>'
