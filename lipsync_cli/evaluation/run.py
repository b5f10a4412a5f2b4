"""Measures one finished video, alone or beside the real video that it re-dubs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lipsync_cli.errors import DataError, FaceError, LipsyncError
from lipsync_cli.evaluation.clip_figures import (
    FEWEST_FRAMES,
    NO_REACH,
    Gathered,
    Instruments,
    add_in_sync,
    add_lse,
    add_pauses,
    add_sync,
    measure_sync,
    opening_figures,
    opening_series,
    sync_figures,
    usable_features,
    width_figures,
)
from lipsync_cli.evaluation.pairing import pair_frames
from lipsync_cli.evaluation.pictures import PictureFigures
from lipsync_cli.evaluation.results import ClipResult, OpeningSeries
from lipsync_cli.evaluation.watch import Watched, watch
from lipsync_cli.interfaces import FaceDetector, LandmarkFinder, SyncScorer
from lipsync_cli.media.reader import VideoReader

LARGEST_DIFFERENCE = 0.5
"""Seconds by which the lengths of a pair may differ; the common part is measured."""


def compare_videos(
    reference: Path,
    generated: Path,
    *,
    detector: FaceDetector,
    finder: LandmarkFinder,
    scorer: SyncScorer | None = None,
    own_offset: float = 0.0,
    name: str | None = None,
) -> ClipResult:
    """`compare_pair` with the networks by name."""
    instruments = Instruments(detector, finder, scorer)
    return compare_pair(reference, generated, instruments, own_offset=own_offset, name=name)


def compare_pair(
    reference: Path,
    generated: Path,
    instruments: Instruments,
    *,
    own_offset: float = 0.0,
    name: str | None = None,
    words: Path | None = None,
) -> ClipResult:
    """Measure a generated video against the real one that it re-dubs, with the same words in its sound.

    Frames are paired by time stamp; both videos are tracked anew; crops of both are cut with the real
    video's box. Videos are read three times each and never held.

    Args:
        reference: the real video. Its sound is only used for its own AV offset.
        generated: the video to judge.
        instruments: networks; without a sync network the AV offset is left out.
        own_offset: AV offset of the REAL video: its picture at t matches its sound at t + own_offset frames
            (at 25 fps). A generated video follows the sound, so its picture at t shows the words that the
            real picture shows at t - own_offset / 25, and openings are compared so. Figures of pixels and
            lip points always compare pictures of equal time.
        name: default the file's stem.
        words: the real video of what is said, where that is another one (shuffled speech): mouth openings are
            compared with it, pictures with `reference`.

    Raises:
        MediaError: a file is missing or unreadable.
        FaceError: one of the two has no face, or fewer than 15 frames with one.
        DataError: sizes differ, lengths differ by more than 0.5 s, or fewer than 15 frames pair up.
    """
    streams = VideoReader(reference), VideoReader(generated)
    real, made = (watch(stream, instruments.detector, instruments.finder) for stream in streams)
    _refuse_mismatch(real, made, reference, generated)
    pictures = PictureFigures(real, made, instruments.features, instruments.recognizer)
    pictures.update_all(pair_frames(*streams, tolerance=real.period / 2))
    if pictures.n_frames < FEWEST_FRAMES:
        raise DataError(
            f"{generated}: only {pictures.n_frames} of its frames pair up in time with a face of {reference},"
            f" {FEWEST_FRAMES} are needed"
        )
    gathered = Gathered()
    gathered.take(pictures.figures(), "the real video stands still or has no detail there")
    spoken = real if words is None else _spoken(words, instruments)
    series = _add_mouth(gathered, spoken, made, own_offset, generated)
    curve = add_sync(gathered, made, generated, instruments)
    add_sync(gathered, real, reference, instruments, prefix="real_")
    add_in_sync(gathered)
    add_lse(gathered, made, generated, instruments)
    add_lse(gathered, real, reference, instruments, prefix="real_")
    features = usable_features(gathered, pictures.features.compute(), instruments.features)
    return ClipResult(
        name=name or generated.stem,
        figures=gathered.figures,
        left_out=gathered.left_out,
        n_frames=pictures.n_frames,
        own_offset=own_offset,
        n_unpaired=pictures.n_unpaired,
        n_without_face=int((~made.track.present).sum()),
        series=series,
        sync=curve,
        features=features,
    )


def score_unpaired(
    words: Path, generated: Path, instruments: Instruments, *, own_offset: float = 0.0, name: str
) -> ClipResult:
    """Measure a video that says what somebody else says in the real video `words`.

    No real video of it exists: AV offset, LSE and the mouth's openings beside the other person's, none of
    pictures. Where `words` has no picture or face, there are no openings. Raises as `score_video`.
    """
    made = watch(VideoReader(generated), instruments.detector, instruments.finder)
    _refuse_faceless(made, generated)
    gathered = Gathered(left_out={"pictures": "unpaired: no real video of these words by this person"})
    series = None
    try:
        spoken = _spoken(words, instruments)
    except LipsyncError as error:
        gathered.left_out["openings"] = str(error)
    else:
        series = _add_mouth(gathered, spoken, made, own_offset, generated)
    curve = add_sync(gathered, made, generated, instruments)
    add_lse(gathered, made, generated, instruments)
    return ClipResult(
        name=name,
        figures=gathered.figures,
        left_out=gathered.left_out,
        n_frames=int(made.track.present.sum()),
        own_offset=own_offset,
        n_without_face=int((~made.track.present).sum()),
        series=series,
        sync=curve,
    )


def _spoken(words: Path, instruments: Instruments) -> Watched:
    seen = watch(VideoReader(words), instruments.detector, instruments.finder)
    _refuse_faceless(seen, words)
    return seen


def _add_mouth(
    gathered: Gathered, spoken: Watched, made: Watched, own_offset: float, generated: Path
) -> OpeningSeries:
    """Openings and widths beside those of the real video of the words."""
    series = opening_series(spoken, made, own_offset)
    gathered.take(opening_figures(series), "the openings of the real video hardly move or are not known")
    gathered.take(width_figures(spoken, made, own_offset), "the real mouth's width hardly moves")
    add_pauses(gathered, series, generated)
    return series


def score_video(video: Path, instruments: Instruments, *, name: str | None = None) -> ClipResult:
    """AV offset, confidence, LSE and mouth openings of a single video with its own sound.

    Raises:
        MediaError: the file is missing, unreadable or without sound.
        FaceError: fewer than 15 frames have a face.
        DataError: the sound is silent, or too little of video and sound belong together.
    """
    seen = watch(VideoReader(video), instruments.detector, instruments.finder)
    _refuse_faceless(seen, video)
    gathered = Gathered()
    curve = None
    if instruments.scorer is not None:  # asked for by itself, what is wrong with the sound is an error
        curve = measure_sync(seen, video, instruments.scorer)
        gathered.take(sync_figures(curve), NO_REACH)
    add_lse(gathered, seen, video, instruments)
    times = seen.track.times[seen.track.present]
    openings = seen.openings(times)
    gathered.figures["opening_p95"] = float(np.percentile(openings, 95))
    gathered.figures["opening_minimum"] = float(np.percentile(openings, 5))
    series = OpeningSeries(times, openings, np.full(len(times), np.nan))
    add_pauses(gathered, series, video)
    return ClipResult(
        name=name or video.stem,
        figures=gathered.figures,
        left_out=gathered.left_out,
        n_frames=int(seen.track.present.sum()),
        n_without_face=int((~seen.track.present).sum()),
        series=series,
        sync=curve,
    )


def measured_own_offset(video: Path, instruments: Instruments) -> float:
    """AV offset of a real video with its own sound, frames at 25 fps.

    Raises:
        DataError: there is no sync network, or it cannot tell.
        MediaError: the file is missing, unreadable or without sound.
        FaceError: fewer than 15 frames have a face.
    """
    if instruments.scorer is None:
        raise DataError(f"{video}: its own AV offset can only be measured with a sync network")
    seen = watch(VideoReader(video), instruments.detector, instruments.finder)
    _refuse_faceless(seen, video)
    return float(measure_sync(seen, video, instruments.scorer).best.frames)


def _refuse_mismatch(real: Watched, generated: Watched, reference: Path, video: Path) -> None:
    _refuse_faceless(real, reference)
    _refuse_faceless(generated, video)
    if any(abs(a - b) > 1 for a, b in zip(real.size, generated.size, strict=True)):
        # one pixel more is what codecs of even sizes add to an odd one
        sizes = [f"{width}x{height}" for width, height in (generated.size, real.size)]
        raise DataError(f"{video} is {sizes[0]} pixels, {reference} is {sizes[1]}: a pair must have one size")
    if abs(real.duration - generated.duration) > LARGEST_DIFFERENCE:
        raise DataError(
            f"{video} lasts {generated.duration:.2f} s, {reference} {real.duration:.2f} s:"
            f" a pair may differ by {LARGEST_DIFFERENCE} s"
        )


def _refuse_faceless(seen: Watched, video: Path) -> None:
    n_faces = int(seen.track.present.sum())
    if n_faces == 0:
        raise FaceError(f"{video}: no frame of it has a face")
    if n_faces < FEWEST_FRAMES:
        raise FaceError(f"{video}: only {n_faces} frames have a face, {FEWEST_FRAMES} are needed")
