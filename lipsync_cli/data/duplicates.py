"""Clips that are there twice: the same file again, or the same sound encoded anew."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.data.layout import Clip

N_BITS = 256
"""Of a fingerprint."""
_TABLES, _KEY_BITS = 32, 12  # two fingerprints are compared when they agree in one of 32 choices of 12 bits
_MOST_BITS_APART = (
    48  # of 256; a clip encoded anew is up to 45 apart (measured), which the tables find to 96 %
)
_SAME_SOUND = (
    0.935  # correlation; encoded anew: 0.942 and more; other sentences of GRID by one voice: up to 0.92
)
_BANDS, _STRETCHES = 16, 40
_SMOOTH = 5  # columns
_LOUD = (0.4, 0.6)  # of the way from the quietest to the loudest column
_DEEPEST = 4.0  # units of the mel, 50 dB: what is further below the loudest is the codec's matter
_FLAT = 0.15  # units of the mel: sound that varies less has nothing to be told by
_REACH = 12  # columns, 0.15 s, by which two cuts of one recording may be shifted
_FEWEST = 80  # columns, a second


@dataclass(frozen=True, slots=True)
class Content:
    """What tells whether two clips hold the same."""

    exact: bytes
    """Of all the sound and some of the pictures: the same only for copies."""
    fingerprints: tuple[bytes, ...]
    """Of the sound; a few bits differ when it is encoded anew. Empty: silence, which has none."""


def content_of(clip: Clip, mel: NDArray[np.float32]) -> Content:
    """Of a clip and its mel [80, T]. Raises DataError when the clip is damaged."""
    rows = np.linspace(0, clip.n_frames - 1, 3).round().astype(int).tolist()
    exact = hashlib.blake2b(mel.tobytes(), digest_size=16)
    exact.update(clip.crops(rows).tobytes())
    return Content(exact.digest(), fingerprints(mel))


def fingerprints(mel: NDArray[np.float32]) -> tuple[bytes, ...]:
    """Two of a mel [80, T], 256 bits each: on which sides of planes its rough shape lies; none of silence.

    Only from the first loud column to the last: codecs add padding, and cuts begin earlier or later. Where
    that is may be a matter of little, so there are two answers.
    """
    shape = _shape(mel)
    if float(shape.std()) < _FLAT:
        return ()
    levels = cv2.blur(shape.mean(axis=0, keepdims=True), (_SMOOTH, 1))[0]
    low, high = float(levels.min()), float(levels.max())
    marks = []
    for share in _LOUD:
        loud = np.flatnonzero(levels >= low + share * (high - low))
        heard = np.ascontiguousarray(shape[:, loud[0] : loud[-1] + 1])
        rough = cv2.resize(heard, (_STRETCHES, _BANDS), interpolation=cv2.INTER_AREA)
        marks.append(np.packbits(_planes() @ rough.ravel() > 0).tobytes())
    return tuple(marks)


def same_sound(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Largest correlation of two mels [80, T] over shifts of up to 0.15 s, -1 to 1.

    -1 where the lengths differ by more than that to either side, or there is no second of sound.
    """
    first, second = (
        cv2.resize(_shape(mel), (mel.shape[1], _BANDS), interpolation=cv2.INTER_AREA) for mel in (one, other)
    )
    n = min(first.shape[1], second.shape[1])
    if n < _FEWEST or abs(first.shape[1] - second.shape[1]) > 2 * _REACH:
        return -1.0
    middle = np.ascontiguousarray(second[:, _REACH : n - _REACH])
    return float(cv2.matchTemplate(first, middle, cv2.TM_CCOEFF_NORMED).max())


def duplicates(
    contents: Sequence[Content], mel: Callable[[int], NDArray[np.float32]]
) -> tuple[list[list[int]], list[list[int]]]:
    """Groups of clips, by their places: copies, and others with the same sound (one of each copy's group).

    mel: of the clip at a place; asked only of those whose fingerprints are near each other.
    """
    by_content: dict[bytes, list[int]] = defaultdict(list)
    for place, content in enumerate(contents):
        by_content[content.exact].append(place)
    copies = [places for places in by_content.values() if len(places) > 1]
    single = {places[0]: contents[places[0]].fingerprints for places in by_content.values()}
    groups = _Groups()
    for one, other in _near(single):
        if groups.root(one) != groups.root(other) and same_sound(mel(one), mel(other)) >= _SAME_SOUND:
            groups.join(one, other)
    return copies, groups.listed()


def _near(marks: Mapping[int, Sequence[bytes]]) -> list[tuple[int, int]]:
    """Pairs of places of which fingerprints of one kind differ in few bits, each once, in order."""
    pairs: set[tuple[int, int]] = set()
    for kind in range(len(_LOUD)):
        one_kind = {place: all_of_it[kind] for place, all_of_it in sorted(marks.items()) if all_of_it}
        places = list(one_kind)
        packed = np.frombuffer(b"".join(one_kind.values()), np.uint8).reshape(-1, N_BITS // 8)
        pairs.update((places[one], places[other]) for one, other in _near_rows(packed))
    return sorted(pairs)


def _near_rows(packed: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Pairs of rows [N, 32] that differ in few bits, some of them more than once."""
    bits = np.unpackbits(packed, axis=1)
    rng = np.random.default_rng(21)
    for _ in range(_TABLES):
        chosen = rng.permutation(N_BITS)[:_KEY_BITS]
        keys = bits[:, chosen] @ (1 << np.arange(_KEY_BITS))
        order = np.argsort(keys, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            yield from _close_rows(packed, rows)


def _close_rows(packed: NDArray[np.uint8], rows: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Pairs of the rows (ascending) that differ in few bits."""
    for place, row in enumerate(rows[:-1].tolist()):
        others = rows[place + 1 :]
        apart = _BITS_SET[packed[others] ^ packed[row]].sum(axis=1)
        yield from ((row, other) for other in others[apart <= _MOST_BITS_APART].tolist())


class _Groups:
    """Sets that grow together."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def root(self, place: int) -> int:
        while (parent := self._parents.get(place, place)) != place:
            place = parent
        return place

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self._parents[high] = low

    def listed(self) -> list[list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for place in self._parents:
            found[self.root(place)].append(place)
        return [sorted({root, *places}) for root, places in sorted(found.items())]


def _shape(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mel without loudness and tone: how each of its rows goes up and down."""
    heard = np.maximum(mel, mel.max(initial=-np.inf) - _DEEPEST)
    shape: NDArray[np.float32] = heard - heard.mean(axis=1, keepdims=True)
    return shape


_BITS_SET = np.array([value.bit_count() for value in range(256)], np.uint8)


@cache
def _planes() -> NDArray[np.float32]:
    return np.random.default_rng(20).standard_normal((N_BITS, _BANDS * _STRETCHES)).astype(np.float32)
