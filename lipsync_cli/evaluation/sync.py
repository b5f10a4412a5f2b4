"""Where lips and sound of a finished video fit best, by a sync network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.errors import DataError
from lipsync_cli.interfaces import Image, SyncScorer
from lipsync_cli.metrics.sync import REACH, Offset, centred, offset_of_scores
from lipsync_cli.regions import to_network

RATE = 25
"""Pictures a second that sync networks see."""
WINDOW = 5
"""Pictures of one decision, 0.2 s."""
FEWEST_WINDOWS = 11
"""A clip of 15 frames; with fewer the search over offsets means nothing."""

_BATCH = 32
_LOUDEST_SILENCE = 1e-3  # root mean square of a loud tenth of a second, -60 dB of full scale

Floats = NDArray[np.float64]
MelWindow = Callable[[list[float]], Tensor]
"""Times [B] -> mel [B, 1, 80, 16] starting there (`MelWindows.starting`)."""


@runtime_checkable
class SyncEmbedder(Protocol):
    """A `SyncScorer` whose score is the product of two unit vectors: 31 offsets for the price of two."""

    def embed_lips(self, lips: Tensor) -> Tensor:
        """[B, 5, 3, h, w] in [0, 1] -> unit vectors [B, D]."""
        ...

    def embed_speech(self, mel: Tensor) -> Tensor:
        """[B, 1, 80, 16] -> unit vectors [B, D]."""
        ...


@dataclass(frozen=True)
class SyncCurve:
    """How one clip's lips fit its sound."""

    best: Offset
    """Of the whole clip."""
    scores: Floats
    """[31] mean score at each offset from -15 to 15 frames, NaN where the sound is too short for it."""
    at_zero: float
    """Mean score without any shift."""
    seconds: list[SyncSecond]
    """One entry for each second with lips."""
    n_windows: int


@dataclass(frozen=True, slots=True)
class SyncSecond:
    """How lips and sound fit within one second of a clip."""

    start: float
    """Seconds."""
    score: float
    """Mean score at the clip's own best offset."""
    offset: int | None
    """Best offset of this second alone, in frames; None where most offsets could not be measured."""


def is_silent(samples: NDArray[np.float32], sample_rate: int) -> bool:
    """True when no tenth of a second of the sound is louder than -60 dB of full scale."""
    block = max(1, sample_rate // 10)
    for start in range(0, len(samples), block):
        piece = samples[start : start + block].astype(np.float64)
        if np.sqrt(np.mean(piece**2)) > _LOUDEST_SILENCE:
            return False
    return True


_T = TypeVar("_T")


def at_25_fps(lips: Iterable[tuple[float, _T | None]]) -> Iterator[tuple[int, float, _T | None]]:
    """Pictures resampled by time: (index, time, picture nearest to that time); times 1/25 s apart.

    The grid begins at the first picture's time. A picture stands until half-way to the next.
    """
    last: tuple[float, _T | None] | None = None
    start, index = 0.0, 0
    for time, picture in lips:
        if last is None:
            start = time
        else:
            middle = (last[0] + time) / 2
            while start + index / RATE <= middle:
                yield index, start + index / RATE, last[1]
                index += 1
        last = (time, picture)
    if last is not None and start + index / RATE <= last[0] + 0.5 / RATE:
        yield index, start + index / RATE, last[1]


def sync_curve(
    lips: Iterable[tuple[float, Image | None]], mel: MelWindow, duration: float, scorer: SyncScorer
) -> SyncCurve:
    """Score every window of five pictures against the sound at -15 .. 15 frames.

    Args:
        lips: time and lower half of the face crop [h, w, 3] of each frame, None without a face.
        mel: `MelWindows.starting` of the sound.
        duration: seconds of sound; no window that reaches past either end is scored.
        scorer: the sync network, in eval mode.

    Raises:
        DataError: fewer than 11 windows with lips in every picture, sound that covers too few offsets, or
            scores that are not finite.
    """
    times: list[float] = []
    rows: list[Floats] = []
    heard = _Heard(mel, scorer)
    for batch in _batches(lips_windows(at_25_fps(lips))):
        times += [time for _, time, _ in batch]
        rows.append(_scores(batch, heard, duration, scorer))
    if len(times) < FEWEST_WINDOWS:
        raise DataError(f"only {len(times)} windows of 5 frames with a face, {FEWEST_WINDOWS} are needed")
    return _summed_up(np.asarray(times), np.concatenate(rows))


_Window = tuple[int, float, list[Image]]


def lips_windows(
    pictures: Iterable[tuple[int, float, _T | None]],
) -> Iterator[tuple[int, float, list[_T]]]:
    """Index and time of the first of each five consecutive pictures that all have lips."""
    held: deque[tuple[int, float, _T]] = deque(maxlen=WINDOW)
    for index, time, picture in pictures:
        if picture is None:
            held.clear()
            continue
        held.append((index, time, picture))
        if len(held) == WINDOW:
            yield held[0][0], held[0][1], [each for _, _, each in held]


def _batches(windows: Iterable[_Window]) -> Iterator[list[_Window]]:
    batch: list[_Window] = []
    for window in windows:
        batch.append(window)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Heard:
    """The windows of sound, or their features: each made once, though neighbouring batches share most."""

    def __init__(self, mel: MelWindow, scorer: SyncScorer) -> None:
        self._mel, self._scorer = mel, scorer
        self._known: dict[int, Tensor] = {}

    def at(self, steps: NDArray[np.int64], starts: Floats) -> Tensor:
        """Of steps [U] of the grid, which start at `starts`; those of earlier calls only are forgotten."""
        new = [place for place, step in enumerate(steps.tolist()) if step not in self._known]
        if new:
            windows = beside(self._scorer, self._mel(starts[new].tolist()))
            made = self._scorer.embed_speech(windows) if isinstance(self._scorer, SyncEmbedder) else windows
            self._known.update(zip(steps[new].tolist(), made, strict=True))
        self._known = {step: self._known[step] for step in steps.tolist()}
        return torch.stack(list(self._known.values()))


def _scores(batch: list[_Window], heard: _Heard, duration: float, scorer: SyncScorer) -> Floats:
    """[B, 31], NaN where the sound does not reach."""
    lips = to_network(np.stack([np.stack(pictures) for _, _, pictures in batch]))
    origin = batch[0][1] - batch[0][0] / RATE
    steps = np.array([index for index, _, _ in batch])[:, None] + np.arange(-REACH, REACH + 1)
    unique, place = np.unique(steps, return_inverse=True)
    starts = origin + unique / RATE
    inside = (starts >= -0.5 / RATE) & (starts + WINDOW / RATE <= duration + 0.5 / RATE)
    place = place.reshape(steps.shape)
    with torch.inference_mode():
        sound = heard.at(unique, starts)
        scores = _all_pairs(lips, sound, torch.from_numpy(place), scorer).double().cpu().numpy()
    if not np.isfinite(scores).all():
        raise DataError("the sync network's scores are not finite; check its weights")
    return np.where(inside[place], scores, np.nan)


def _all_pairs(lips: Tensor, sound: Tensor, place: Tensor, scorer: SyncScorer) -> Tensor:
    """Scores [B, 31] of lips [B, ...] with the sounds (or their features) [U, ...] that `place` names."""
    lips = beside(scorer, lips)
    if isinstance(scorer, SyncEmbedder):
        seen = scorer.embed_lips(lips)
        return (seen @ sound.T).gather(1, place.to(seen.device))
    columns = [scorer(lips, sound[place[:, k]]) for k in range(place.shape[1])]
    return torch.stack(columns, dim=1)


def beside(scorer: SyncScorer, tensor: Tensor) -> Tensor:
    """The tensor on the device of the network."""
    if isinstance(scorer, torch.nn.Module):
        parameter = next(scorer.parameters(), None)
        if parameter is not None:
            return tensor.to(parameter.device)
    return tensor


def _summed_up(times: Floats, scores: Floats) -> SyncCurve:
    evidence = centred(scores, np.rint((times - times[0]) * RATE).astype(np.int64))
    means = _means(scores)
    try:
        best = offset_of_scores(means, _means(evidence))
    except ValueError as error:
        raise DataError("the sound is too short to search offsets of 15 frames to either side") from error
    column = best.frames + REACH
    seconds = []
    whole = np.floor(times - times[0]).astype(int)
    for second in np.unique(whole):
        part = whole == second
        here = _means(scores[part])
        known = np.isfinite(here).sum() > len(here) // 2
        seconds.append(
            SyncSecond(
                start=float(times[0] + second),
                score=float(here[column]),
                offset=offset_of_scores(here, _means(evidence[part])).frames if known else None,
            )
        )
    return SyncCurve(best, means, float(means[REACH]), seconds, len(times))


def _means(scores: Floats) -> Floats:
    """Means over windows [N, 31] -> [31]; NaN where fewer than a third of the windows could be scored."""
    known = np.isfinite(scores)
    count = known.sum(axis=0)
    sums = np.where(known, scores, 0.0).sum(axis=0)
    return np.where(count * 3 >= max(len(scores), 1), sums / np.maximum(count, 1), np.nan)
