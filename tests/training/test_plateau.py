from __future__ import annotations

import math

import pytest

from lipsync_cli.data.corpus import Corpus, CorpusSettings
from lipsync_cli.data.layout import open_cache
from lipsync_cli.training.avsyncnet import AVSyncNetTraining, SyncTraining
from lipsync_cli.training.plateau import AGAIN, PATIENCE, PlateauWatch

GUESSING = {"sync": math.log(2), "right": 0.5}
BCE = SyncTraining(loss="bce")


@pytest.fixture
def corpus(draw_corpus) -> Corpus:
    return Corpus(open_cache(draw_corpus().folder)[1], CorpusSettings())


def remarks(watch: PlateauWatch, losses: dict[str, float], n_steps: int) -> list[tuple[int, str]]:
    said = [(step, watch(losses)) for step in range(1, n_steps + 1)]
    return [(step, text) for step, text in said if text is not None]


def test_a_loss_that_stays_where_guessing_is_is_told_after_a_while_and_now_and_then(corpus):
    watch = PlateauWatch(BCE, corpus, chances=8, offset=lambda clip: 0)
    said = remarks(watch, GUESSING, PATIENCE + AGAIN)
    assert [step for step, _ in said] == [PATIENCE, PATIENCE + AGAIN]
    assert said[0][1].startswith("the loss stays at 0.69, where guessing is (0.69). Probable: (1) ")


@pytest.mark.parametrize(
    "losses", [{"sync": 0.6, "right": 0.5}, {"sync": 0.69, "right": 0.7}], ids=["lower", "right"]
)
def test_a_network_that_learns_is_left_alone(corpus, losses):
    watch = PlateauWatch(BCE, corpus, chances=8, offset=lambda clip: 0)
    assert remarks(watch, losses, 2 * PATIENCE) == []


def test_of_the_contrastive_loss_guessing_is_the_logarithm_of_the_batch(corpus):
    for loss, n_remarks in ((math.log(96), 1), (math.log(96) - 0.2, 0)):
        watch = PlateauWatch(AVSyncNetTraining(), corpus, chances=96, offset=lambda clip: 0)
        assert len(remarks(watch, {"sync": loss, "right": 0.5}, PATIENCE)) == n_remarks


def the_remark(corpus, settings=BCE, **more) -> str:
    ((_, text),) = remarks(PlateauWatch(settings, corpus, chances=8, **more), GUESSING, PATIENCE)
    return text


def test_clips_that_are_out_of_sync_come_first(corpus):
    late = the_remark(corpus, offset=lambda clip: 4 if clip.speaker == "a" else -1)
    assert "(1) 3 of 8 clips that were measured are out of sync by more than a frame (clip0" in late
    assert "out of sync" not in the_remark(corpus, offset=lambda clip: 1)
    assert "(1) clips whose sound is early or late" in the_remark(corpus)


def test_few_speakers_and_the_loss_are_told(corpus):
    text = the_remark(corpus, offset=lambda clip: 0)
    assert "5 speakers, whose voices" in text
    assert "loss 'bce' has one negative for each window" in text
    assert "rate" not in text
    assert "rate = 0.5 is high" in the_remark(corpus, SyncTraining(loss="bce", rate=0.5))


def test_silence_and_still_mouths_are_told(draw_corpus):
    import numpy as np

    from lipsync_cli.data.layout import ClipArrays, clip_path, write_clip

    drawn = draw_corpus()
    plain = Corpus(open_cache(drawn.folder)[1], CorpusSettings())
    assert "silence" not in the_remark(plain)
    assert "hardly move" not in the_remark(plain)
    for clip in open_cache(drawn.folder)[1]:
        arrays = drawn.arrays(1, 30)
        quiet = {**vars(arrays), "mel": np.full_like(arrays.mel, -4), "openings": 0 * arrays.openings}
        write_clip(clip_path(drawn.folder, clip.speaker, clip.name), ClipArrays(**quiet))
    quiet = Corpus(open_cache(drawn.folder)[1], CorpusSettings())
    assert "100 % of the speech is silence" in the_remark(quiet)
    assert "mouths hardly move" in the_remark(quiet)
