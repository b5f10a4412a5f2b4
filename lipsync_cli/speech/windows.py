"""From times to what a network hears at them. No other file turns a time into a column."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.nameless_file import NamelessFile, StoredRows
from lipsync_cli.speech import embedding_mel, mel

FRAME_CENTRE = 0.02
"""Seconds from a frame's presentation time to the middle of what is heard with it: half a frame at 25 fps, at
which networks are trained, and the same at every other rate."""

_SLACK = 1e-6  # columns: a time that lies on a boundary but for its rounding counts as on it


class MelWindows:
    """Windows of 16 columns, 0.2 s, of a mel spectrogram (`mel_spectrogram`). Past either end: silence, -4.

    Args:
        spectrogram: float32 [80, T], 80 columns a second, column c centred on c / 80 s.
        file: where it is kept; None: in memory.
    """

    WIDTH = 16
    RATE = 80.0  # columns a second

    def __init__(self, spectrogram: NDArray[np.float32], file: NamelessFile | None = None) -> None:
        self._columns = _kept(spectrogram.T, mel.SILENCE, file)

    def around(self, times: Sequence[float]) -> Tensor:
        """[B, 1, 80, 16], what a generator hears: the windows with their middle nearest time + FRAME_CENTRE.

        The middle of the window that starts at column c is (c + 7.5) / 80 s; of two equally near, the later.
        """
        half = (self.WIDTH - 1) / 2
        return self._windows((np.asarray(times, np.float64) + FRAME_CENTRE) * self.RATE - half + 0.5)

    def starting(self, times: Sequence[float]) -> Tensor:
        """[B, 1, 80, 16], what a sync network hears with the 5 frames (at 25 fps) from each time on.

        The window of time t starts at column floor(80 t), as in the training of the public networks.
        """
        return self._windows(np.asarray(times, np.float64) * self.RATE)

    def _windows(self, places: NDArray[np.float64]) -> Tensor:
        windows = self._columns.take(_floor(places), self.WIDTH)
        return torch.from_numpy(windows.transpose(0, 2, 1).copy()).unsqueeze(1)


class MelWindowsFromFrame(MelWindows):
    """Windows as Wav2Lip's inference cuts them: from the frame's own time on, not around its middle."""

    def around(self, times: Sequence[float]) -> Tensor:
        """[B, 1, 80, 16]: the windows that start at column floor(80 t)."""
        return self.starting(times)


class SpeechEmbeddingWindows:
    """Windows of 10 steps, 0.76 s, of the speech embedding, or of more. Past either end: digital silence.

    Columns are 10 ms apart, column c centred on 0.016 + 0.01 c s. Ten steps come of 76 columns; of those that
    start at column c, step j is centred on 0.211 + 0.04 j + 0.01 c s, so their middle is 0.391 + 0.01 c s.
    What is kept is the log mel; steps are computed when they are asked for, and the last ones stay at hand.

    Args:
        log_mel: float32 [T, 32], of `embedding_mel`.
        network: [B, T, 32] -> [B, (T - 40) // 4 + 1, 384], as `SpeechEmbedding.steps`.
        further: steps on either side of the ten.
        file: where the log mel is kept; None: in memory.
    """

    N_STEPS = 10
    RATE = 100.0  # columns a second

    _STRIDE = 4  # columns from one step to the next
    _REACH = 40  # columns that one step hears
    _MIDDLE = embedding_mel.FIRST_CENTRE * RATE + (_STRIDE * (N_STEPS - 1) + _REACH - 1) / 2  # = 39.1
    _BLOCK = 64  # steps that are computed at once, 2.56 s
    _AT_HAND = 16  # blocks: of the four phases that frames have at most, where two meet, and of silence

    def __init__(
        self,
        log_mel: NDArray[np.float32],
        network: Callable[[Tensor], Tensor],
        further: int = 0,
        file: NamelessFile | None = None,
    ) -> None:
        self._columns = _kept(log_mel, embedding_mel.silence_floor(log_mel), file)
        self._network = network
        self._further = further
        self._n_steps = self.N_STEPS + 2 * further
        # One piece of memory: blocks that come and go in between larger ones would leave holes behind.
        self._blocks = torch.empty(self._AT_HAND, self._BLOCK, 384)
        self._at_hand: dict[tuple[int, int], int] = {}  # where in it

    def around(self, times: Sequence[float]) -> Tensor:
        """[B, 10 + 2 further, 384]: the steps whose middle is nearest to each time + FRAME_CENTRE, the later
        of two."""
        first = self._first_columns(times) - self._further * self._STRIDE
        if len(first) == 0:
            return torch.empty(0, self._n_steps, 384)
        return torch.stack([self._steps(column, self._n_steps) for column in first.tolist()])

    def grid(self, n_frames: int) -> Tensor:
        """All steps that the frames of a 25 fps clip hear, [n_frames + 9 + 2 further, 384]: frame i hears
        [i : i + 10 + 2 further].

        The same as `around` of the times i / 25, without what neighbours share.
        """
        first = int(self._first_columns([0.0])[0]) - self._further * self._STRIDE
        return self._steps(first, n_frames + self._n_steps - 1)

    @classmethod
    def columns_around(
        cls, log_mel: NDArray[np.float32], times: Sequence[float], further: int = 0
    ) -> NDArray[np.float32]:
        """float32 [B, 76 + 8 further, 32]: what the network hears for `around`, for training, which changes
        voices."""
        columns = _Columns(log_mel, silence=embedding_mel.silence_floor(log_mel))
        first = cls._first_columns(times) - further * cls._STRIDE
        return columns.take(first, cls._STRIDE * (cls.N_STEPS + 2 * further - 1) + cls._REACH)

    @classmethod
    def _first_columns(cls, times: Sequence[float]) -> NDArray[np.int64]:
        centres = np.asarray(times, np.float64) + FRAME_CENTRE
        return _floor(centres * cls.RATE - cls._MIDDLE + 0.5)

    def _steps(self, first: int, n_steps: int) -> Tensor:
        """[n_steps, 384]: the steps from the one on that starts at column `first`."""
        begin, phase = divmod(first, self._STRIDE)
        end = begin + n_steps
        steps = torch.empty(n_steps, 384)
        for number in range(begin // self._BLOCK, -(-end // self._BLOCK)):
            place = number * self._BLOCK
            low, high = max(begin, place), min(end, place + self._BLOCK)
            steps[low - begin : high - begin] = self._block(phase, number)[low - place : high - place]
        return steps

    def _block(self, phase: int, number: int) -> Tensor:
        """[64, 384]: the steps from 64 number on of those that start at columns 4 step + phase; good until
        the next call.

        Neighbours share them, and the network meets one length: torch keeps what it has prepared for each.
        """
        key = phase, number
        place = self._at_hand.pop(key, None)
        if place is None:
            place = len(self._at_hand)
            if place == self._AT_HAND:
                place = self._at_hand.pop(next(iter(self._at_hand)))
            first = np.array([number * self._BLOCK * self._STRIDE + phase])
            columns = self._columns.take(first, (self._BLOCK - 1) * self._STRIDE + self._REACH)
            with torch.no_grad():
                self._blocks[place] = self._network(torch.from_numpy(columns))[0]
        self._at_hand[key] = place  # the one used last stands last
        return self._blocks[place]


class _Columns:
    """Columns [T, W] of a spectrogram, silence wherever there are none."""

    def __init__(self, columns: NDArray[np.float32], silence: float) -> None:
        floor = np.full((1, columns.shape[1]), silence, np.float32)
        self._columns = np.concatenate([columns, floor])  # every index outside is sent to this last one
        self._count = len(columns)

    def take(self, first: NDArray[np.int64], width: int) -> NDArray[np.float32]:
        """[B, width, W]: the columns from each of `first` [B] on."""
        index = first[:, None] + np.arange(width)
        return self._columns[np.where((index >= 0) & (index < self._count), index, self._count)]


class _StoredColumns:
    """The same, in a file: of 20 minutes 15 MB, of which a moment needs 30 kB."""

    def __init__(self, columns: NDArray[np.float32], silence: float, file: NamelessFile) -> None:
        self._columns = StoredRows(columns, file)
        self._silence = silence

    def take(self, first: NDArray[np.int64], width: int) -> NDArray[np.float32]:
        """As `_Columns.take`."""
        count, n_bins = self._columns.shape
        taken = np.full((len(first), width, n_bins), self._silence, np.float32)
        for window, begin in zip(taken, first.tolist(), strict=True):
            low, high = max(begin, 0), min(begin + width, count)
            if low < high:
                window[low - begin : high - begin] = self._columns[low:high]
        return taken


def _kept(
    columns: NDArray[np.float32], silence: float, file: NamelessFile | None
) -> _Columns | _StoredColumns:
    return _Columns(columns, silence) if file is None else _StoredColumns(columns, silence, file)


def _floor(places: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(places + _SLACK).astype(np.int64)
