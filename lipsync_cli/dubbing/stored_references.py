"""The references of a video's shots, on the disk: a film has thousands of shots, each with some megabyte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import numpy as np

from lipsync_cli.dubbing.references import References
from lipsync_cli.nameless_file import NamelessFile

_AT_HAND = 4  # shots whose pictures stay in memory: a batch seldom shows more


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the pictures of one shot lie in the file, and the rest of its references."""

    offset: int
    shape: tuple[int, ...]
    """[sets, R, size, size, 3]"""
    silenced: bool
    yaws: tuple[float, ...]


class StoredReferences(Mapping[int, References]):
    """References by number of the shot, in a nameless file that is gone when this is closed.

    Those asked for last stay in memory. Several threads may read.

    Args:
        folder: of the file; None for the system's own place for such files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = NamelessFile(folder)
        self._places: dict[int, _Place] = {}
        self._at_hand: dict[int, References] = {}
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, shot: int, references: References) -> None:
        """Keep the references of a shot. MediaError where the file cannot be written."""
        sets = np.stack(references.sets())
        offset = self._file.append(sets)
        self._places[shot] = _Place(offset, sets.shape, references.silenced, references.yaws)

    def filled(self, references: Iterable[tuple[int, References]]) -> Self:
        """This, with all of these added one after the other."""
        for shot, found in references:
            self.add(shot, found)
        return self

    def __getitem__(self, shot: int) -> References:
        with self._lock:
            found = self._at_hand.pop(shot, None) or self._read(self._places[shot])
            self._at_hand[shot] = found  # the one used last stands last
            if len(self._at_hand) > _AT_HAND:
                del self._at_hand[next(iter(self._at_hand))]
            return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def n_silenced(self, shots: int) -> int:
        """How many of the first shots have a closed mouth that the silent-lip generator made."""
        return sum(place.silenced for shot, place in self._places.items() if shot < shots)

    def _read(self, place: _Place) -> References:
        sets = np.empty(place.shape, np.uint8)
        self._file.fill(sets, place.offset)
        return References(sets[0], place.silenced, place.yaws, tuple(sets[1:]))
