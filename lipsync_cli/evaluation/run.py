"""Measures one finished video, alone or beside the real video that it re-dubs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import DataError, FaceError, LipsyncError
from lipsync_cli.evaluation.pairing import pair_frames
from lipsync_cli.evaluation.pauses import pauses, within
from lipsync_cli.evaluation.pictures import SIZE, PictureFigures
from lipsync_cli.evaluation.results import ClipResult, OpeningSeries
from lipsync_cli.evaluation.sync import RATE, SyncCurve, is_silent, sync_curve
from lipsync_cli.evaluation.watch import Watched, watch
from lipsync_cli.faces.crop import crop_face
from lipsync_cli.interfaces import FaceDetector, Image, LandmarkFinder, SyncScorer, Waveform
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.metrics.landmarks import amplitude_ratio, correlation
from lipsync_cli.speech.mel import mel_spectrogram
from lipsync_cli.speech.windows import MelWindows

FEWEST_FRAMES = 15
"""Frames with a face that a clip needs, 0.6 s at 25 fps."""
LARGEST_DIFFERENCE = 0.5
"""Seconds by which the lengths of a pair may differ; the common part is measured."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Instruments:
    """What videos are measured with."""

    detector: FaceDetector
    finder: LandmarkFinder
    scorer: SyncScorer | None = None
    """None: no AV offset is measured."""


@dataclass
class _Gathered:
    """Figures and reasons while they come in."""

    figures: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def take(self, figures: dict[str, float], reason: str) -> None:
        for name, value in figures.items():
            if math.isfinite(value):
                self.figures[name] = value
            else:
                self.left_out[name] = reason


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
    """Measure a generated video against the real one that it re-dubs, with the same words in its sound.

    Frames are paired by time stamp; both videos are tracked anew; crops of both are cut with the real
    video's box. Videos are read three times each and never held.

    Args:
        reference: the real video. Its sound is only used for its own AV offset.
        generated: the video to judge.
        detector: finds faces.
        finder: finds landmarks.
        scorer: sync network; None leaves the AV offset out.
        own_offset: AV offset of the REAL video: its picture at t matches its sound at t + own_offset frames
            (at 25 fps). A generated video follows the sound, so its picture at t shows the words that the
            real picture shows at t - own_offset / 25, and openings are compared so. Figures of pixels and
            lip points always compare pictures of equal time.
        name: default the file's stem.

    Raises:
        MediaError: a file is missing or unreadable.
        FaceError: one of the two has no face, or fewer than 15 frames with one.
        DataError: sizes differ, lengths differ by more than 0.5 s, or fewer than 15 frames pair up.
    """
    instruments = Instruments(detector, finder, scorer)
    streams = VideoReader(reference), VideoReader(generated)
    real, made = (watch(stream, detector, finder) for stream in streams)
    _refuse_mismatch(real, made, reference, generated)
    pictures = PictureFigures(real, made)
    pictures.update_all(pair_frames(*streams, tolerance=real.period / 2))
    if pictures.n_frames < FEWEST_FRAMES:
        raise DataError(
            f"{generated}: only {pictures.n_frames} of its frames pair up in time with a face of {reference},"
            f" {FEWEST_FRAMES} are needed"
        )
    gathered = _Gathered()
    gathered.take(pictures.figures(), "the real video stands still or has no detail there")
    series = opening_series(real, made, own_offset)
    gathered.take(_opening_figures(series), "the openings of the real video hardly move or are not known")
    gathered.take(_width_figures(real, made, series, own_offset), "the real mouth's width hardly moves")
    _add_pauses(gathered, series, generated)
    curve = _add_sync(gathered, made, generated, instruments, prefix="")
    _add_sync(gathered, real, reference, instruments, prefix="real_")
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
    )


def score_video(
    video: Path,
    *,
    detector: FaceDetector,
    finder: LandmarkFinder,
    scorer: SyncScorer,
    name: str | None = None,
) -> ClipResult:
    """AV offset, confidence and mouth openings of a single video with its own sound.

    Raises:
        MediaError: the file is missing, unreadable or without sound.
        FaceError: fewer than 15 frames have a face.
        DataError: the sound is silent, or too little of video and sound belong together.
    """
    seen = watch(VideoReader(video), detector, finder)
    _refuse_faceless(seen, video)
    curve = _measure_sync(seen, video, scorer)
    gathered = _Gathered(figures=_sync_figures(curve, ""))
    times = seen.track.times[seen.track.present]
    openings = seen.openings(times)
    gathered.take(
        {
            "opening_p95": float(np.percentile(openings, 95)),
            "opening_minimum": float(np.percentile(openings, 5)),
        },
        "the openings are not known",
    )
    series = OpeningSeries(times, openings, np.full(len(times), np.nan))
    _add_pauses(gathered, series, video)
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
    return float(_measure_sync(seen, video, instruments.scorer).best.frames)


def opening_series(real: Watched, generated: Watched, own_offset: float) -> OpeningSeries:
    """Openings at the times of the generated frames with a face, the real ones taken `own_offset` earlier.

    The real picture at s shows the words at s + own_offset / 25 of the sound, the generated picture at t
    those at t: the same words are seen at s = t - own_offset / 25.
    """
    times = generated.track.times[generated.track.present]
    return OpeningSeries(times, generated.openings(times), real.openings(times - own_offset / RATE))


def _opening_figures(series: OpeningSeries) -> dict[str, float]:
    both = np.isfinite(series.real)
    generated, real = series.generated[both], series.real[both]
    if len(real) < FEWEST_FRAMES:
        return {"opening_correlation": math.nan, "opening_amplitude": math.nan}
    widest, widest_real = (float(np.percentile(values, 95)) for values in (generated, real))
    return {
        "opening_correlation": correlation(generated, real),
        "opening_amplitude": amplitude_ratio(generated, real),
        "opening_p95": widest,
        "real_opening_p95": widest_real,
        "opening_ratio": widest / widest_real if widest_real > 0 else math.nan,
        "opening_minimum": float(np.percentile(generated, 5)),
        "real_opening_minimum": float(np.percentile(real, 5)),
    }


def _width_figures(
    real: Watched, generated: Watched, series: OpeningSeries, own_offset: float
) -> dict[str, float]:
    widths = generated.mouth_widths(series.times)
    real_widths = real.mouth_widths(series.times - own_offset / RATE)
    both = np.isfinite(real_widths)
    return {"width_correlation": correlation(widths[both], real_widths[both])}


def _add_pauses(gathered: _Gathered, series: OpeningSeries, sound: Path) -> None:
    try:
        spans = pauses(load_waveform(sound))
    except LipsyncError as error:
        gathered.left_out["pauses"] = str(error)
        return
    quiet = within(series.times, spans)
    if quiet.any():
        gathered.figures["pause_opening"] = float(np.median(series.generated[quiet]))
        widest = gathered.figures.get("real_opening_p95", 0.0)
        if widest > 0:
            gathered.figures["pause_ratio"] = gathered.figures["pause_opening"] / widest
    else:
        gathered.left_out["pauses"] = "the sound has no pause of 0.2 s in which a face is seen"
    if not quiet.all():
        gathered.figures["speech_opening"] = float(np.median(series.generated[~quiet]))


def _add_sync(
    gathered: _Gathered, seen: Watched, video: Path, instruments: Instruments, *, prefix: str
) -> SyncCurve | None:
    key = f"{prefix}sync"
    if instruments.scorer is None:
        return None
    try:
        curve = _measure_sync(seen, video, instruments.scorer)
    except LipsyncError as error:
        gathered.left_out[key] = str(error)
        return None
    gathered.take(_sync_figures(curve, prefix), "the sync network's scores are not finite")
    return curve


def _sync_figures(curve: SyncCurve, prefix: str) -> dict[str, float]:
    figures = {
        f"{prefix}offset": float(curve.best.frames),
        f"{prefix}confidence": curve.best.confidence,
        f"{prefix}sync_score": curve.at_zero,
    }
    if not prefix:
        figures["offset_within_1"] = float(abs(curve.best.frames) <= 1)
    return figures


def _measure_sync(seen: Watched, video: Path, scorer: SyncScorer) -> SyncCurve:
    """Lower halves of the video's own face crops against its own sound."""
    waveform: Waveform = load_waveform(video)
    if is_silent(waveform.samples, waveform.sample_rate):
        raise DataError(f"{video}: its sound is silent, no AV offset can be found in it")
    mel = MelWindows(mel_spectrogram(waveform))
    try:
        return sync_curve(_lower_halves(video, seen), mel.starting, waveform.duration, scorer)
    except DataError as error:
        raise DataError(f"{video}: {error}") from error


def _lower_halves(video: Path, seen: Watched) -> Iterator[tuple[float, Image | None]]:
    for frame in VideoReader(video):
        box = seen.track.box(frame.index)
        yield frame.time, None if box is None else crop_face(frame.image, box, SIZE)[SIZE // 2 :]


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
