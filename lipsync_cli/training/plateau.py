"""Tells when a sync network does no better than guessing, and what is probably the matter.

Published trainings are known to stay at 0.69 (ln 2, what guessing gives) for days because of their data.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean, median

import numpy as np

from lipsync_cli.data.corpus import Corpus
from lipsync_cli.data.layout import Clip
from lipsync_cli.training.avsyncnet import SyncTraining

PATIENCE = 300
"""Steps before it is said for the first time."""
AGAIN = 1000
"""Steps before it is said again."""
_STRETCH = 100  # steps that are looked at
_NEAR = 0.02  # of the loss of guessing: as good as guessing
_BARELY = 0.55  # share of windows told from their neighbour, up to which nothing has been learnt
_LOOKED_AT = 8  # clips whose offset is measured
_FEW_SPEAKERS = 20
_SILENT = -3.5  # a mel column below this is silence: within 6 dB of the floor
_STILL = 0.006  # standard deviation of the opening of a mouth that hardly moves

Offset = Callable[[Clip], int]
"""AV offset of a clip in frames, by a network that is trained already."""


class PlateauWatch:
    """Told of the losses of every step, it remarks on a plateau.

    Args:
        settings: of the stage.
        corpus: what it learns from.
        chances: windows among which each is looked for, over all processes (contrastive loss).
        offset: measures clips; None: no trained network is at hand.
    """

    def __init__(
        self, settings: SyncTraining, corpus: Corpus, *, chances: int, offset: Offset | None = None
    ) -> None:
        self._settings = settings
        self._corpus = corpus
        self._offset = offset
        self._guessing = math.log(2 if settings.loss == "bce" else chances)
        self._losses: deque[float] = deque(maxlen=_STRETCH)
        self._right: deque[float] = deque(maxlen=_STRETCH)
        self._next = PATIENCE
        self._n_steps = 0

    def __call__(self, losses: Mapping[str, float]) -> str | None:
        """What is to be said after this step, if anything."""
        self._losses.append(losses["sync"])
        self._right.append(losses["right"])
        self._n_steps += 1
        if self._n_steps < self._next:
            return None
        mean = fmean(self._losses)
        learns = mean < (1 - _NEAR) * self._guessing or fmean(self._right) > _BARELY
        if learns:
            return None
        self._next = self._n_steps + AGAIN
        causes = list(self._causes()) or [
            "nothing that can be measured here: give it time (the paper's loss stays here for thousands of "
            "steps), or another seed"
        ]
        listed = "; ".join(f"({number}) {cause}" for number, cause in enumerate(causes, 1))
        return f"the loss stays at {mean:.2f}, where guessing is ({self._guessing:.2f}). Probable: {listed}"

    def _causes(self) -> Iterator[str]:
        """The most damaging one first."""
        clips = _spread(self._corpus.training, _LOOKED_AT)
        yield from self._about_offsets(clips)
        speakers = {clip.speaker for clip in self._corpus.training}
        if len(speakers) < _FEW_SPEAKERS:
            yield (
                f"{len(speakers)} speakers, whose voices and faces it learns by heart: prepare more, or "
                "raise picture.* and voice.* and lower corpus.balance"
            )
        silent = fmean(float((clip.read("mel").mean(axis=0) < _SILENT).mean()) for clip in clips)
        if silent > 0.3:
            yield f"{100 * silent:.0f} % of the speech is silence, which fits any closed mouth: cut pauses"
        if median(float(np.std(clip.openings)) for clip in clips) < _STILL:
            yield "mouths hardly move in half of the clips: are the crops of the people who speak?"
        if self._settings.loss == "bce":
            yield (
                "loss 'bce' has one negative for each window: loss = 'contrastive' (AVSyncNet: with "
                "network.rectified = false) has all of the batch"
            )
        if self._settings.rate > 2e-3:
            yield f"rate = {self._settings.rate:g} is high: try 1e-3 or 1e-4"

    def _about_offsets(self, clips: Sequence[Clip]) -> Iterator[str]:
        if self._offset is None:
            yield "clips whose sound is early or late: no trained network is here to measure that"
            return
        off = [clip.name for clip in clips if abs(self._offset(clip)) > 1]
        if off:
            yield (
                f"{len(off)} of {len(clips)} clips that were measured are out of sync by more than a frame "
                f"({', '.join(off[:3])}): correct or drop them when preparing"
            )


def _spread(clips: Sequence[Clip], most: int) -> list[Clip]:
    if len(clips) <= most:
        return list(clips)
    return [clips[place] for place in np.linspace(0, len(clips) - 1, most).round().astype(int)]
