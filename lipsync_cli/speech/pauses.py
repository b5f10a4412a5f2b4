"""Where the speech of a sound pauses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.interfaces import Speech, Waveform
from lipsync_cli.speech.mel import DECIBELS, SILENCE

if TYPE_CHECKING:
    from torch import Tensor

SHORTEST = 0.2
"""Seconds; shorter gaps are closures inside words."""
MARGIN = 0.08
"""Seconds at both ends of a pause that count for nothing: lips close after the sound and open before it."""

HUSHED_FROM = 0.35
"""Seconds from the ends of a pause, where windows of 0.76 s hear nothing but the pause."""

_STEP = 0.01  # seconds
_SMOOTH = 5  # steps
_DROP = 30.0  # dB below the loud speech: a pause in a studio
_SHARE = 0.4  # ... or this share of the way up from the quietest to the loudest, where the room is noisy
_LEAST_RANGE = 12.0  # dB between quiet and loud, else everything is one level
LONG_BEFORE = -1000.0
"""Seconds: before any speech there is silence."""
LONG_AFTER = 1e6
"""Seconds, longer than any speech."""
_FLOOR = -60.0  # dB of full scale: sound that never gets louder is silence
_COLUMNS = 80  # of the mel in a second
_OVER_FLOOR = 6.0  # dB
_SMOOTH_COLUMNS = 5

Spans = list[tuple[float, float]]


def pauses(waveform: Waveform, voiceless: Spans | None = None) -> Spans:
    """Spans (start, end) in seconds in which nobody speaks, each at least 0.2 s long, without their margins.

    By loudness: a pause is quieter than both 30 dB under the loud speech (95th percentile) and, in noisy
    rooms, 40 % of the range between quiet (5th) and loud. Sound that is never louder than -60 dB is one
    pause; sound whose loudness hardly changes (12 dB) has none.

    voiceless: spans in which something is heard but nobody speaks (`speech.voice_activity`): also pauses.
    One of the whole sound has no ends, as there is no word that lips leave or get ready for. (Without ends at
    the beginnings of all sounds the opening's correlation fell from 0.89 to 0.85.)
    """
    levels = _levels(waveform)
    if len(levels) == 0:
        return []
    if np.percentile(levels, 95) < _FLOOR:
        return [(0.0, waveform.duration)]
    if voiceless is not None and is_whole(voiceless, waveform):
        return [(LONG_BEFORE, LONG_AFTER)]
    spans = _joined([*_spans(_is_quiet(levels)), *(voiceless or [])])
    return [(start + MARGIN, end - MARGIN) for start, end in spans if end - start >= SHORTEST]


def is_whole(spans: Spans, waveform: Waveform) -> bool:
    """Whether one span is all of the sound."""
    return spans == [(0.0, waveform.duration)]


def _joined(spans: Spans) -> Spans:
    """In order, those that overlap as one."""
    joined: Spans = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def silent_share(mel: NDArray[np.float32]) -> float:
    """Share of a mel [80, T] in which nobody speaks, 0 to 1, by the rules of `pauses`.

    Quiet stretches of 0.2 s and more, to their ends. Sound that never rises 6 dB above the mel's floor is
    silence.
    """
    if mel.shape[1] == 0:
        return 1.0
    levels = 10 * np.log10(np.mean(np.power(10.0, mel * (DECIBELS / 10)), axis=0))
    levels = _smoothed(levels.astype(np.float64), _SMOOTH_COLUMNS)
    if np.percentile(levels, 95) < DECIBELS * SILENCE + _OVER_FLOOR:
        return 1.0
    shortest = SHORTEST * _COLUMNS
    lengths = [end - first for first, end in stretches(_is_quiet(levels))]
    return sum(length for length in lengths if length >= shortest) / len(levels)


def _is_quiet(levels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which steps of the loudness in dB are a pause of the speech."""
    quiet, loud = (float(value) for value in np.percentile(levels, [5, 95]))
    if loud - quiet < _LEAST_RANGE:
        return np.zeros(len(levels), dtype=np.bool_)
    return levels < max(loud - _DROP, quiet + _SHARE * (loud - quiet))


def within(times: NDArray[np.float64], spans: Spans) -> NDArray[np.bool_]:
    """Which times [N] lie in one of the spans."""
    inside = np.zeros(len(times), dtype=np.bool_)
    for start, end in spans:
        inside |= (times >= start) & (times < end)
    return inside


def _levels(waveform: Waveform) -> NDArray[np.float64]:
    """Loudness of each hundredth of a second in dB of full scale, averaged over five."""
    step = round(waveform.sample_rate * _STEP)
    count = len(waveform.samples) // step
    if count < _SMOOTH:
        return np.zeros(0)
    blocks = waveform.samples[: count * step].reshape(count, step)
    power = np.einsum("ij,ij->i", blocks, blocks, dtype=np.float64) / step
    return np.asarray(10 * np.log10(_smoothed(power, _SMOOTH) + 1e-12), dtype=np.float64)


def _smoothed(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Means over n (odd) neighbours."""
    return np.convolve(np.pad(values, n // 2, mode="edge"), np.full(n, 1 / n), mode="valid")


def stretches(steps: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and the one after the last of each run of true steps."""
    changes = np.diff(np.concatenate([[False], steps, [False]]).astype(np.int8))
    return [(int(first), int(end)) for first, end in np.flatnonzero(changes).reshape(-1, 2)]


def _spans(is_quiet: NDArray[np.bool_]) -> Spans:
    return [(first * _STEP, end * _STEP) for first, end in stretches(is_quiet)]


def depth(times: NDArray[np.float64], spans: Spans) -> NDArray[np.float64]:
    """Seconds from each time [N] to the nearer end of the span that it lies in; 0 outside of all."""
    inside = np.zeros(len(times))
    for start, end in spans:
        inside = np.maximum(inside, np.minimum(times - start, end - times))
    return inside


class HushedSpeech:
    """A `Speech` in whose long pauses there is silence, whatever noise the recording has there.

    Near the ends of a pause the speech itself is heard: lips close after the last sound and open well before
    the next one. (Hushed up to their ends, pauses took the opening's correlation from 0.86 to 0.66.)

    Args:
        speech: what is heard outside of the pauses.
        spans: pauses (start, end) in seconds.
    """

    def __init__(self, speech: Speech, spans: Spans) -> None:
        self._speech = speech
        self._spans = spans

    def around(self, times: Sequence[float]) -> Tensor:
        """As `Speech.around`."""
        asked = np.asarray(times, np.float64)
        quiet = depth(asked, self._spans) >= HUSHED_FROM
        return self._speech.around(np.where(quiet, LONG_BEFORE, asked).tolist())
