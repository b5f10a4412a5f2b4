"""The figures of one clip, gathered with a reason for each that could not be measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import DataError, LipsyncError
from lipsync_cli.evaluation.features import ClipFeatures, FeatureNetwork
from lipsync_cli.evaluation.lse import LseNetwork, LseProtocol, measure_lse
from lipsync_cli.evaluation.pictures import SIZE, FaceRecognizer
from lipsync_cli.evaluation.results import OpeningSeries
from lipsync_cli.evaluation.sync import RATE, SyncCurve, is_silent, sync_curve
from lipsync_cli.evaluation.watch import Watched
from lipsync_cli.faces.crop import crop_face
from lipsync_cli.interfaces import FaceDetector, Image, LandmarkFinder, SyncScorer
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.metrics.landmarks import amplitude_ratio, correlation
from lipsync_cli.speech.mel import mel_spectrogram
from lipsync_cli.speech.pauses import pauses, within
from lipsync_cli.speech.windows import MelWindows

FEWEST_FRAMES = 15
"""Frames with a face that a clip needs, 0.6 s at 25 fps."""
NO_REACH = "the sound does not reach over the video"
"""Why there is no score without a shift."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Instruments:
    """What videos are measured with."""

    detector: FaceDetector
    finder: LandmarkFinder
    scorer: SyncScorer | None = None
    """None: no AV offset is measured."""
    lse: LseNetwork | None = None
    """The public SyncNet v2, which users bring themselves; None: no LSE-C and LSE-D."""
    lse_protocol: LseProtocol = "lrs"
    make: Callable[[Path, Path, Path], None] | None = None
    """Makes (video, speech, output) where a run over a corpus judges what it makes itself."""
    features: Mapping[str, FeatureNetwork] = field(default_factory=dict)
    """Networks of the Fréchet distances, by the name of the distance."""
    recognizer: FaceRecognizer | None = None
    """Whose face it is, by a public network that users bring themselves; None: no identity similarity."""


@dataclass
class Gathered:
    """Figures, and reasons for those that are missing, while they come in."""

    figures: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def take(self, figures: dict[str, float], reason: str) -> None:
        """Finite figures are kept, of the others the reason."""
        for name, value in figures.items():
            if math.isfinite(value):
                self.figures[name] = value
            else:
                self.left_out[name] = reason


def opening_series(real: Watched, generated: Watched, own_offset: float) -> OpeningSeries:
    """Openings at the times of the generated frames with a face, the real ones taken `own_offset` earlier.

    The real picture at s shows the words at s + own_offset / 25 of the sound, the generated picture at t
    those at t: the same words are seen at s = t - own_offset / 25.
    """
    times = generated.track.times[generated.track.present]
    real_times = times - own_offset / RATE
    return OpeningSeries(times, generated.openings(times), real.openings(real_times))


def opening_figures(series: OpeningSeries) -> dict[str, float]:
    """How the mouth opens, beside the real one; NaN with fewer than 15 common moments."""
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


def width_figures(real: Watched, generated: Watched, own_offset: float) -> dict[str, float]:
    """How the mouth's width goes with the real one's, at the moments of `opening_series`."""
    times = generated.track.times[generated.track.present]
    widths, real_widths = generated.mouth_widths(times), real.mouth_widths(times - own_offset / RATE)
    both = np.isfinite(real_widths)
    return {"width_correlation": correlation(widths[both], real_widths[both])}


def add_pauses(gathered: Gathered, series: OpeningSeries, sound: Path) -> None:
    """The mouth in the pauses of the sound, and outside of them."""
    try:
        spans = pauses(load_waveform(sound))
    except LipsyncError as error:
        gathered.left_out["pauses"] = str(error)
        return
    quiet = within(series.times, spans)
    if quiet.any():
        gathered.figures["pause_opening"] = float(np.median(series.generated[quiet]))
        real = series.real[quiet & np.isfinite(series.real)]
        if len(real):
            gathered.figures["real_pause_opening"] = float(np.median(real))
        widest = gathered.figures.get("real_opening_p95", 0.0)
        if widest > 0:
            gathered.figures["pause_ratio"] = gathered.figures["pause_opening"] / widest
    else:
        gathered.left_out["pauses"] = "the sound has no pause of 0.2 s in which a face is seen"
    if not quiet.all():
        gathered.figures["speech_opening"] = float(np.median(series.generated[~quiet]))


def add_sync(
    gathered: Gathered, seen: Watched, video: Path, instruments: Instruments, *, prefix: str = ""
) -> SyncCurve | None:
    """AV offset and confidence of a video with its own sound, where there is a sync network."""
    if instruments.scorer is None:
        return None
    try:
        curve = measure_sync(seen, video, instruments.scorer)
    except LipsyncError as error:
        gathered.left_out[f"{prefix}sync"] = str(error)
        return None
    gathered.take(sync_figures(curve, prefix), NO_REACH)
    return curve


def sync_figures(curve: SyncCurve, prefix: str = "") -> dict[str, float]:
    """What a curve says in numbers."""
    figures = {
        f"{prefix}offset": float(curve.best.frames),
        f"{prefix}confidence": curve.best.confidence,
        f"{prefix}sync_score": curve.at_zero,
    }
    if not prefix:
        figures["offset_within_1"] = float(abs(curve.best.frames) <= 1)
    return figures


def add_in_sync(gathered: Gathered) -> None:
    """Whether the offset is right and not by chance.

    Some offset is always the best one: that of another sentence of the same rhythm is "within one frame" in a
    third of the cases, with little confidence. So half of what the real video has with its own sound is asked
    for, and `offset_within_1`, which would tell less, is left out where there is a real video.
    """
    figures = gathered.figures
    if {"offset", "confidence", "real_confidence"} <= figures.keys():
        is_sure = figures["confidence"] >= 0.5 * figures["real_confidence"]
        figures["in_sync"] = float(abs(figures["offset"]) <= 1 and is_sure)
        figures.pop("offset_within_1", None)


def add_lse(
    gathered: Gathered, seen: Watched, video: Path, instruments: Instruments, *, prefix: str = ""
) -> None:
    """LSE-C and LSE-D of a video with its own sound, where there is the public network."""
    if instruments.lse is None:
        return
    try:
        if _is_silent(video):
            raise DataError(f"{video}: its sound is silent, LSE says nothing of it")
        result = measure_lse(video, instruments.lse, instruments.lse_protocol, seen)
    except LipsyncError as error:
        gathered.left_out[f"{prefix}lse"] = str(error)
        return
    figures = {f"{prefix}lse_c": result.confidence, f"{prefix}lse_d": result.distance}
    gathered.take(figures, "the features of SyncNet v2 are not finite; check its weights")


def usable_features(gathered: Gathered, features: ClipFeatures, wanted: Iterable[str]) -> ClipFeatures:
    """The clip's part in the distances of the whole run; of what is missing or not finite the reason."""
    usable = {}
    for name in wanted:
        if name not in features:
            gathered.left_out[name] = "it has no five frames on end with a face"
        elif not all(np.isfinite(side).all() for side in features[name]):
            gathered.left_out[name] = "the features of its network are not finite; check its weights"
        else:
            usable[name] = features[name]
    return usable


def measure_sync(seen: Watched, video: Path, scorer: SyncScorer) -> SyncCurve:
    """Lower halves of the video's own face crops against its own sound.

    Raises:
        MediaError: no sound, or it cannot be read.
        DataError: the sound is silent, or too little of video and sound belong together.
    """
    waveform = load_waveform(video)
    if is_silent(waveform.samples, waveform.sample_rate):
        raise DataError(f"{video}: its sound is silent, no AV offset can be found in it")
    mel = MelWindows(mel_spectrogram(waveform))
    try:
        return sync_curve(lower_halves(video, seen), mel.starting, waveform.duration, scorer)
    except DataError as error:
        raise DataError(f"{video}: {error}") from error


def _is_silent(video: Path) -> bool:
    waveform = load_waveform(video)
    return is_silent(waveform.samples, waveform.sample_rate)


def lower_halves(video: Path, seen: Watched) -> Iterator[tuple[float, Image | None]]:
    """Time and lower half of the face crop [48, 96, 3] of each frame, None without a face."""
    for frame in VideoReader(video):
        box = seen.track.box(frame.index)
        yield frame.time, None if box is None else crop_face(frame.image, box, SIZE)[SIZE // 2 :]
