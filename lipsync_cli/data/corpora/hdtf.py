"""HDTF (Zhang, Li, Ding and Fan 2021): annotations of videos that the user already has.

ROOT holds the annotation files of its authors, for each of the parts RD, WDA and WRA, a line a video:

    RD_video_url.txt       NAME ADDRESS
    RD_annotion_time.txt   NAME.mp4 00:10-00:55 01:02-01:40   (the authors' spelling)
    RD_crop_wh.txt         NAME_0.mp4 X WIDTH Y HEIGHT        (of the part with that number)
    RD_resolution.txt      NAME.mp4 1080                      (lines of the picture that the crop is of)

and the videos themselves, as NAME.mp4 anywhere below it. Nothing is downloaded. A video is a speaker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from lipsync_cli.data.corpora.folder import VIDEO_SUFFIXES
from lipsync_cli.data.corpora.source import SourceClip, find_list, read_list
from lipsync_cli.errors import DataError
from lipsync_cli.interfaces import Box

PARTS = ("RD", "WDA", "WRA")


def list_clips(root: Path, split: str | None) -> list[SourceClip]:
    """The annotated parts of all videos that are there; split: one of the parts RD, WDA and WRA, or a list of
    names of videos.

    Raises DataError when annotations or all videos are missing, or a line is not to be understood.
    """
    parts = [part for part in PARTS if (root / f"{part}_annotion_time.txt").is_file()]
    if not parts:
        raise DataError(
            f"{root}: has none of HDTF's annotation files (RD_annotion_time.txt, ...): put them there"
        )
    wanted: set[str] | None = None
    if split in PARTS:
        parts = [part for part in parts if part == split]
    elif split is not None:
        wanted = {Path(name).stem for name in read_list(find_list(root, split))}
    videos = {path.stem: path for path in sorted(root.rglob("*")) if path.suffix.lower() in VIDEO_SUFFIXES}
    clips = [
        clip
        for part in parts
        for clip in _clips_of(root, part, videos)
        if wanted is None or clip.speaker in wanted
    ]
    if not clips:
        raise DataError(f"{root}: no video of HDTF's lists is there (NAME.mp4): get them first")
    return clips


def _clips_of(root: Path, part: str, videos: Mapping[str, Path]) -> Iterator[SourceClip]:
    times = _table(root / f"{part}_annotion_time.txt")
    crops = _table(root / f"{part}_crop_wh.txt")
    lines = _table(root / f"{part}_resolution.txt")
    for name, spans in times.items():
        if name not in videos:
            continue
        for number, span in enumerate(spans):
            start, end = _span(span, root / f"{part}_annotion_time.txt")
            yield SourceClip(
                videos[name],
                name,
                f"{name}_{number}",
                start,
                end,
                _region(crops.get(f"{name}_{number}"), lines.get(name)),
            )


def _table(path: Path) -> dict[str, list[str]]:
    """First word, without .mp4 -> the other words; empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return {row[0].removesuffix(".mp4"): row[1:] for row in rows if row}


def _span(text: str, path: Path) -> tuple[float, float]:
    start, dash, end = text.partition("-")
    try:
        seconds = _seconds(start), _seconds(end)
    except ValueError as error:
        raise DataError(f"{path}: '{text}' is no span of time (00:10-00:55)") from error
    if not dash or seconds[1] <= seconds[0]:
        raise DataError(f"{path}: '{text}' is no span of time (00:10-00:55)")
    return seconds


def _seconds(text: str) -> float:
    """'01:02:03.5', '02:03' -> seconds."""
    total = 0.0
    for word in text.split(":"):
        total = 60 * total + float(word)
    return total


def _region(crop: list[str] | None, lines: list[str] | None) -> Box | None:
    """Where the face is, in heights of the picture; None where nothing is annotated."""
    if crop is None or lines is None or len(crop) != 4 or not lines[:1]:
        return None
    try:
        x, width, y, height = (float(word) for word in crop)
        whole = float(lines[0])
    except ValueError:
        return None
    return Box(x / whole, y / whole, (x + width) / whole, (y + height) / whole)
