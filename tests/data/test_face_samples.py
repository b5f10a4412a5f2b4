from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from lipsync_cli.data import face_samples
from lipsync_cli.data.augment import PictureAugmentation, VoiceAugmentation, random_grid
from lipsync_cli.data.corpus import Corpus, CorpusSettings, step_rng
from lipsync_cli.data.face_samples import MIRRORED_LIPS, FaceSampling, draw_face_batch
from lipsync_cli.data.layout import open_cache
from lipsync_cli.errors import SettingsError
from lipsync_cli.faces.landmarks import SCHEMES
from lipsync_cli.regions import to_network
from lipsync_cli.speech.embedding_mel import silence_floor
from lipsync_cli.speech.windows import MelWindows, SpeechEmbeddingWindows

STILL = PictureAugmentation(rotation=0, scale=0, shift=0, warp=0, colour=0, mirror=False)
PLAIN = VoiceAugmentation(probability=0)
NO_DROPOUT = FaceSampling(any_for_closed=0, closed_for_open=0, silent_share=0)


@pytest.fixture
def corpus(draw_corpus):
    return Corpus(open_cache(draw_corpus(image_size=64).folder)[1], CorpusSettings())


def draw(corpus, step=0, sampling=NO_DROPOUT, picture=STILL, voice=PLAIN):
    return draw_face_batch(corpus, step_rng(2, step), sampling, picture=picture, voice=voice)


def order(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(n)


def test_a_batch_has_its_shapes_and_ranges(corpus):
    batch = draw(corpus, picture=PictureAugmentation(), voice=VoiceAugmentation())
    assert batch.targets.shape == (8, 4, 3, 64, 64)
    assert batch.references.shape == (8, 2, 3, 64, 64)
    assert batch.log_mel.shape == (8, 4, 76, 32)
    assert batch.lips.shape == (8, 4, 40, 2)
    assert batch.reference_lips.shape == (8, 2, 40, 2)
    assert 0 <= batch.targets.min() <= batch.targets.max() <= 1


@pytest.mark.parametrize("seed", range(20))
def test_references_are_never_targets_or_next_to_them(seed):
    rng = np.random.default_rng(seed)
    frames = order(60, seed)
    targets = face_samples._draw_targets(frames, rng, FaceSampling(), False)
    for sampling in (FaceSampling(), FaceSampling(any_for_closed=1.0)):
        for reference in face_samples._draw_references(frames, targets, rng, sampling, False):
            assert min(abs(reference - target) for target in targets) > 2


@pytest.mark.parametrize("seed", range(10))
def test_the_closed_reference_is_closed_and_the_open_one_open(seed):
    frames = order(60, seed)
    closed, opened = face_samples._draw_references(frames, [], np.random.default_rng(seed), NO_DROPOUT, False)
    assert closed in frames[:10]
    assert opened in frames[-7:]


def test_where_all_frames_are_near_a_target_references_are_drawn_all_the_same():
    closed, opened = face_samples._draw_references(
        order(4), [0, 1, 2, 3], np.random.default_rng(0), NO_DROPOUT, False
    )
    assert {closed, opened} <= set(range(4))


def test_reference_dropout_takes_open_or_any_frames_for_closed_and_the_closed_one_for_open():
    frames = order(60)
    rng = np.random.default_rng(0)
    sampling = FaceSampling(any_for_closed=0.33, closed_for_open=0.33)
    drawn = [face_samples._draw_references(frames, [], rng, sampling, False) for _ in range(1000)]
    assert sum(closed == opened for closed, opened in drawn) / 1000 == pytest.approx(0.33, abs=0.05)
    dropped = sum(closed not in frames[:10] for closed, _ in drawn) / 1000
    assert dropped == pytest.approx(0.33 * (0.5 + 0.5 * 50 / 60), abs=0.05)
    opened = sum(closed in frames[40:] for closed, _ in drawn) / 1000
    assert opened == pytest.approx(0.33 * (0.5 + 0.5 / 3), abs=0.05)


def test_most_silent_samples_have_an_open_mouth_to_close():
    frames, rng = order(60), np.random.default_rng(0)
    drawn = [face_samples._draw_references(frames, [], rng, NO_DROPOUT, True) for _ in range(1000)]
    assert sum(closed in frames[40:] for closed, _ in drawn) / 1000 == pytest.approx(0.6, abs=0.05)


def test_half_of_the_targets_come_from_the_most_open_third():
    frames = order(60)
    rng = np.random.default_rng(0)
    drawn = [t for _ in range(500) for t in face_samples._draw_targets(frames, rng, FaceSampling(), False)]
    assert np.isin(drawn, frames[40:]).mean() == pytest.approx(0.5 + 0.5 / 3, abs=0.04)


CONSECUTIVE = FaceSampling(consecutive=True, n_frames=5, silent_share=0)


@pytest.mark.parametrize("seed", range(10))
def test_consecutive_targets_follow_one_another_inside_the_clip(seed):
    frames = order(12, seed)
    drawn = face_samples._draw_targets(frames, np.random.default_rng(seed), CONSECUTIVE, False)
    assert drawn == list(range(drawn[0], drawn[0] + 5))
    assert 0 <= drawn[0] <= 12 - 5


def test_consecutive_targets_lie_around_open_frames_as_often_as_asked():
    frames = order(60)
    rng = np.random.default_rng(0)
    middles = [face_samples._draw_targets(frames, rng, CONSECUTIVE, False)[2] for _ in range(2000)]
    inside = [frame for frame in frames[40:] if 2 <= frame < 58]
    assert np.isin(middles, inside).mean() == pytest.approx(0.5 + 0.5 / 3, abs=0.08)


def test_a_sync_network_hears_the_fifth_of_a_second_of_consecutive_targets(corpus):
    sampling = dataclasses.replace(CONSECUTIVE, n_clips=3)
    batch = draw(corpus, sampling=sampling)
    assert batch.spoken.all()
    assert batch.sync_mel.shape == (3, 1, 80, 16)
    windows = [
        (MelWindows(clip.read("mel")).starting([start / 25])[0], to_network(clip.crops([start, start + 4])))
        for clip in corpus.training
        for start in range(clip.n_frames - 4)
    ]
    for heard, targets in zip(batch.sync_mel, batch.targets, strict=True):
        seen = [ends for window, ends in windows if torch.equal(heard, window)]
        assert any(torch.allclose(targets[[0, 4]], ends, atol=1e-6) for ends in seen)


def test_consecutive_targets_are_five():
    with pytest.raises(SettingsError, match="n_frames must be 5"):
        FaceSampling(consecutive=True)


def test_silent_samples_show_closed_mouths_and_hear_nothing(corpus):
    batch = draw(corpus, sampling=FaceSampling(silent_share=1.0))
    lips = batch.lips
    heights = (lips[:, :, 35, 1] - lips[:, :, 25, 1]).abs()
    speaking = draw(corpus, sampling=FaceSampling(silent_share=0.0))
    assert heights.max() < (speaking.lips[:, :, 35, 1] - speaking.lips[:, :, 25, 1]).abs().max() / 2
    assert speaking.log_mel.max() > 5
    assert batch.log_mel.max() < 1.6 + 1.5 + 6 * 0.15  # the floor, its loudest noise, and that noise's ripple


def test_targets_are_heard_at_their_times(corpus):
    clip = corpus.training[0]
    heard = face_samples._hear(clip, [3, 20], np.random.default_rng(0), PLAIN, further=0, is_silent=False)
    log_mel = clip.read("log_mel")
    expected = SpeechEmbeddingWindows.columns_around(log_mel, [3 / 25, 20 / 25])
    assert np.array_equal(heard.numpy(), expected)
    assert silence_floor(log_mel) < log_mel.max()


def test_mirroring_swaps_the_sides_of_the_lips():
    """Corner for corner, and the rings turn the other way round."""
    lips = SCHEMES["mesh468"].lips
    swapped = [lips[place] for place in MIRRORED_LIPS]
    assert sorted(MIRRORED_LIPS) == list(range(40))
    assert [MIRRORED_LIPS[place] for place in MIRRORED_LIPS] == list(range(40))
    assert (swapped[0], swapped[10], swapped[20], swapped[30]) == (291, 61, 308, 78)
    assert (swapped[15], swapped[5], swapped[35], swapped[25]) == (0, 17, 13, 14)  # the middle stays


@pytest.mark.parametrize("seed", range(6))
def test_lip_points_stay_on_the_lips_of_the_changed_picture(corpus, seed):
    """Upper lip above the lower one, left corner left of the right one, mirrored or not."""
    amount = PictureAugmentation(rotation=4, warp=0.01)
    grid = random_grid(np.random.default_rng(seed), 64, amount)
    clip = corpus.training[0]
    points = torch.from_numpy(clip.read("landmarks")[:3][:, list(SCHEMES["mesh468"].lips)])
    moved = face_samples._moved_lips((points + 0.5) / 64 * 2 - 1, grid)
    assert (moved[:, 0, 0] < moved[:, 10, 0] - 0.2).all()
    assert (moved[:, 15, 1] < moved[:, 5, 1]).all()


def test_lip_points_are_over_the_face_from_the_middle_of_the_lower_half(corpus):
    batch = draw(corpus)
    middle = batch.lips.mean(dim=2)
    assert middle.abs().max() < 0.03  # drawn at 0.5, 0.75 of the side
    corners = batch.lips[:, :, 10, 0] - batch.lips[:, :, 0, 0]
    torch.testing.assert_close(corners, torch.full_like(corners, 0.44), atol=1e-3, rtol=0)


def test_a_batch_depends_on_seed_and_step_alone(corpus):
    first, again, other = (
        draw(corpus, step, FaceSampling(), PictureAugmentation(), VoiceAugmentation()) for step in (3, 3, 4)
    )
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
        if field.name != "spoken":  # never, of frames that are not consecutive
            assert not torch.equal(getattr(first, field.name), getattr(other, field.name))
    assert not first.spoken.any()


def test_targets_and_references_are_changed_alike(corpus):
    """The upper halves of a drawn face do not move, so one change leaves them the same in all pictures."""
    batch = draw(corpus, picture=PictureAugmentation(mirror=False, rotation=2, shift=0.02, warp=0.01))
    upper = torch.cat([batch.references, batch.targets], dim=1)[..., 10:28, 10:-10]
    assert (upper - upper[:, :1]).abs().max() < 1e-5
    assert (upper[0, 0] - upper[1, 0]).abs().max() > 0.05
