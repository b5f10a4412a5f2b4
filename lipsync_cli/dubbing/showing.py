"""How much of the generated mouth shows in each frame, and why it does not where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.dubbing.job import DubSettings
from lipsync_cli.faces.occlusion import occluded
from lipsync_cli.faces.track import FaceTrack, smooth
from lipsync_cli.speech.pauses import Spans, depth

FADE = 4
"""Frames over which a generated mouth comes and goes inside a shot."""
TURNING = 12.0
"""Degrees below the largest yaw from which on the generated mouth fades."""
LONG_PAUSE = 0.4
"""Seconds: in shorter pauses the filmed mouth does not come back."""
_PAUSE_FADE = 0.12  # seconds
_STEADY = 9  # frames over which a yaw is averaged


class Status(StrEnum):
    """What became of a frame."""

    DUBBED = "dubbed"
    NO_FACE = "no_face"
    PROFILE = "profile"
    """The head is turned too far (`max_yaw`)."""
    TOO_SMALL = "too_small"
    """The face is smaller than `smallest_face`."""
    OCCLUDED = "occluded"
    """Something is in front of the mouth (`occluder` = keep)."""
    PAUSE = "pause"
    """The speech pauses and the filmed mouth shows (`silence` = original)."""
    AFTER_SPEECH = "after_speech"
    """The speech is over and the video goes on (`shorter` = keep)."""


@dataclass(frozen=True)
class Showing:
    """Shares of the generated mouth in the picture: 1 all of it, 0 the filmed one."""

    shares: NDArray[np.float32]
    """[N] by frame of the source."""
    statuses: tuple[Status, ...]
    """[N] what a frame of the source can become: `DUBBED` where its share is above 0."""
    pauses: Spans
    """Seconds of the speech in which the filmed mouth shows."""
    end: float
    """Second at which the speech is over."""
    yaws: NDArray[np.float64]
    """[N] degrees, steadied."""

    def yaw(self, source: int) -> float:
        """Of the head in a frame of the source."""
        return float(self.yaws[source])

    def of(self, source: int, time: float) -> tuple[float, Status]:
        """Share and status of a frame of the source that is shown at a time of the output."""
        if source >= len(self.statuses):
            return 0.0, Status.NO_FACE
        share, status = float(self.shares[source]), self.statuses[source]
        if status is not Status.DUBBED:
            return 0.0, status
        left = _ramp((self.end - time) / _PAUSE_FADE)
        if left <= 0:
            return 0.0, Status.AFTER_SPEECH
        speaking = 1 - _ramp(float(depth(np.array([time]), self.pauses)[0]) / _PAUSE_FADE)
        if speaking <= 0:
            return 0.0, Status.PAUSE
        # A speech that ends with the video is not faded out: only where more of the video follows.
        return share * min(speaking, left), Status.DUBBED


def showing(track: FaceTrack, settings: DubSettings, *, pauses: Spans, end: float) -> Showing:
    """What shows in each frame of a track.

    Inside a shot the generated mouth comes and goes over `FADE` frames, beside frames where it cannot be and,
    above `max_yaw` less `TURNING` degrees, the less the further the head is turned. At cuts nothing fades.

    Args:
        track: of one face.
        settings: `max_yaw`, `smallest_face`, `occluder`, `silence`.
        pauses: of the speech, seconds; they count with `silence` = original, where they are long enough.
        end: second at which the filmed mouth is back; infinite where the speech lasts to the end.
    """
    yaws = _steady_yaws(track)
    widths = track.boxes[:, 2] - track.boxes[:, 0]
    can = np.where(track.present, 1.0, 0.0)
    can *= np.clip((settings.max_yaw - np.abs(yaws)) / TURNING, 0, 1)
    can[widths < settings.smallest_face] = 0
    hidden = _hidden(track, settings)
    can[hidden] = 0
    return Showing(
        shares=_faded(can, track.shot_starts).astype(np.float32),
        statuses=tuple(
            Status.OCCLUDED if is_hidden else _status(bool(present), float(width), float(share), settings)
            for present, width, share, is_hidden in zip(track.present, widths, can, hidden, strict=True)
        ),
        pauses=[span for span in pauses if span[1] - span[0] >= LONG_PAUSE]
        if settings.silence == "original"
        else [],
        end=end,
        yaws=yaws,
    )


def _status(present: bool, width: float, share: float, settings: DubSettings) -> Status:
    if not present:
        return Status.NO_FACE
    if width < settings.smallest_face:
        return Status.TOO_SMALL
    return Status.DUBBED if share > 0 else Status.PROFILE


def _hidden(track: FaceTrack, settings: DubSettings) -> NDArray[np.bool_]:
    """[N] frames in which something is before the mouth, where such frames are to be kept."""
    if settings.occluder == "dub" or len(track.strange) == 0:
        return np.zeros(len(track), np.bool_)
    return occluded(track.strange)


def _faded(shares: NDArray[np.float64], starts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The largest shares below the given ones that change by at most 1 / FADE a frame inside of shots."""
    faded = shares.copy()
    for index in range(1, len(faded)):
        if not starts[index]:
            faded[index] = min(faded[index], faded[index - 1] + 1 / FADE)
    for index in range(len(faded) - 2, -1, -1):
        if not starts[index + 1]:
            faded[index] = min(faded[index], faded[index + 1] + 1 / FADE)
    return faded


def _steady_yaws(track: FaceTrack) -> NDArray[np.float64]:
    """Yaws averaged over frames that follow each other, so that a noisy one does not make the mouth blink."""
    yaws = track.yaws.astype(np.float64)
    for run in _runs(track.present, track.shot_starts):
        yaws[run] = smooth(yaws[run][:, None], _STEADY)[:, 0]
    return yaws


def _runs(present: NDArray[np.bool_], starts: NDArray[np.bool_]) -> Iterator[slice]:
    """Stretches of frames of one shot that all have a face."""
    breaks = np.flatnonzero(starts | (np.diff(present, prepend=False) != 0))
    for first, last in zip(breaks, [*breaks[1:], len(present)], strict=True):
        if present[first] and last - first > 1:
            yield slice(int(first), int(last))


def _ramp(place: float) -> float:
    """0 up to 0, 1 from 1 on, smooth in between."""
    t = min(max(place, 0.0), 1.0)
    return t * t * (3 - 2 * t)
