from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from lipsync_cli.data import samples
from lipsync_cli.data.augment import PictureAugmentation, VoiceAugmentation
from lipsync_cli.data.corpus import Corpus, CorpusSettings, step_rng
from lipsync_cli.data.layout import Clip, open_cache
from lipsync_cli.data.samples import WindowSampling, draw_sync_batch, draw_window_batch
from lipsync_cli.errors import DataError, SettingsError
from lipsync_cli.regions import to_network
from lipsync_cli.speech.windows import MelWindows

STILL = PictureAugmentation(rotation=0, scale=0, shift=0, warp=0, colour=0, mirror=False)
PLAIN = VoiceAugmentation(probability=0)


@pytest.fixture
def corpus(draw_corpus):
    return Corpus(open_cache(draw_corpus().folder)[1], CorpusSettings())


def windows(corpus, step=0, picture=STILL, voice=PLAIN, n=6):
    return draw_window_batch(
        corpus, step_rng(1, step), WindowSampling(n_windows=n), picture=picture, voice=voice
    )


def pairs(corpus, step=0, picture=STILL, voice=PLAIN):
    return draw_sync_batch(corpus, step_rng(1, step), n_clips=4, n_windows=3, picture=picture, voice=voice)


def places(corpus: Corpus, picture: torch.Tensor) -> list[tuple[Clip, int]]:
    """Every (clip, frame) that looks like a drawn picture [3, S, S], or like a lower half [3, S/2, S]."""
    found = []
    for clip in corpus.training:
        frames = to_network(clip.crops(list(range(clip.n_frames))))[..., -picture.shape[-2] :, :]
        same = (frames - picture).abs().amax(dim=(1, 2, 3)) < 1e-3
        found += [(clip, int(frame)) for frame in same.nonzero()]
    return found


def test_windows_have_their_shapes_and_ranges(corpus):
    batch = windows(corpus, picture=PictureAugmentation(), voice=VoiceAugmentation())
    assert batch.targets.shape == (6, 5, 3, 32, 32)
    assert batch.references.shape == (6, 3, 32, 32)
    assert batch.mel.shape == (6, 5, 1, 80, 16)
    assert batch.sync_mel.shape == (6, 1, 80, 16)
    assert 0 <= batch.targets.min() <= batch.targets.max() <= 1
    assert batch.mel.min() >= -4


@pytest.mark.parametrize("step", range(4))
def test_a_window_is_five_consecutive_frames_and_a_reference_that_is_not_near_them(corpus, step):
    batch = windows(corpus, step)
    for targets, reference in zip(batch.targets, batch.references, strict=True):
        starts = set(places(corpus, targets[0]))
        for i, target in enumerate(targets):
            starts &= {(clip, frame - i) for clip, frame in places(corpus, target)}
        ((clip, start),) = starts
        others = [frame for other, frame in places(corpus, reference) if other is clip]
        assert others
        assert all(frame < start - 2 or frame > start + 4 + 2 for frame in others)


def test_the_sound_of_a_window_is_heard_at_its_frames_times(corpus):
    batch = windows(corpus)
    for i in range(6):
        clip, start = next(iter(set(places(corpus, batch.targets[i, 0]))))
        mel = MelWindows(clip.read("mel"))
        torch.testing.assert_close(batch.mel[i], mel.around([(start + k) / 25 for k in range(5)]))
        torch.testing.assert_close(batch.sync_mel[i], mel.starting([start / 25])[0])


def test_a_reference_of_a_short_clip_is_outside_the_window_at_least():
    rng = np.random.default_rng(0)
    assert {samples._another_frame(6, [1, 2, 3, 4, 5], rng) for _ in range(20)} == {0}


def test_windows_of_one_clip_never_overlap(corpus):
    rng = np.random.default_rng(0)
    for n_frames in (15, 16, 30, 80):
        for _ in range(50):
            starts = sorted(samples._apart(rng, n_frames, 3))
            assert all(later - earlier >= 5 for earlier, later in pairwise(starts))
            assert starts[0] >= 0
            assert starts[-1] <= n_frames - 5


def test_windows_lie_everywhere_in_a_clip(corpus):
    rng = np.random.default_rng(0)
    starts = {start for _ in range(500) for start in samples._apart(rng, 30, 2)}
    assert starts == set(range(26))


@pytest.mark.parametrize("step", range(3))
def test_sync_windows_are_lips_with_the_sound_of_the_same_frames(corpus, step):
    batch = pairs(corpus, step)
    assert batch.lips.shape == (4, 3, 5, 3, 16, 32)
    assert batch.mel.shape == (4, 3, 1, 80, 16)
    for lips, mels in zip(batch.lips, batch.mel, strict=True):
        for window, mel in zip(lips, mels, strict=True):
            starts = set(places(corpus, window[0]))
            for i, frame in enumerate(window):
                starts &= {(clip, place - i) for clip, place in places(corpus, frame)}
            assert any(
                torch.equal(MelWindows(clip.read("mel")).starting([start / 25])[0], mel)
                for clip, start in starts
            )


@pytest.mark.parametrize("draw", [windows, pairs])
def test_a_batch_depends_on_seed_and_step_alone(corpus, draw):
    first, again, other = (
        draw(corpus, step, picture=PictureAugmentation(), voice=VoiceAugmentation()) for step in (3, 3, 4)
    )
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
        assert not torch.equal(getattr(first, field.name), getattr(other, field.name))


def test_clips_that_are_too_short_are_passed_over(draw_corpus):
    drawn = draw_corpus()
    drawn.add("f", "short", n_frames=5)
    corpus = Corpus(open_cache(drawn.folder)[1], CorpusSettings(balance=0))
    for step in range(20):
        assert pairs(corpus, step).lips.shape == (4, 3, 5, 3, 16, 32)


def test_a_cache_of_short_clips_only_is_refused(draw_corpus):
    corpus = Corpus(open_cache(draw_corpus().folder)[1], CorpusSettings())
    with pytest.raises(DataError, match="hardly any clip has 35 frames"):
        draw_sync_batch(corpus, step_rng(0, 0), n_clips=1, n_windows=7, picture=STILL, voice=PLAIN)


def test_a_batch_moves_to_a_device_whole(corpus):
    moved = windows(corpus).to(torch.device("meta"))
    assert {getattr(moved, field.name).device.type for field in dataclasses.fields(moved)} == {"meta"}


def test_a_batch_has_one_window_at_least():
    with pytest.raises(SettingsError, match="n_windows"):
        WindowSampling(n_windows=0)
