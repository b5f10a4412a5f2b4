from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.data.augment import (
    Colour,
    PictureAugmentation,
    VoiceAugmentation,
    augment_voice,
    move_points,
    random_grid,
    sample_grid,
)

STILL = PictureAugmentation(rotation=0, scale=0, shift=0, warp=0, colour=0, mirror=False)
PER_DECIBEL, FLOOR = 0.1, 1.6


def dot(size: int, x: float, y: float) -> torch.Tensor:
    """[1, 1, 3, size, size]: a soft dot around (x, y) in [-1, 1]."""
    line = (torch.arange(size) + 0.5) / size * 2 - 1
    square = (line[None] - x) ** 2 + (line[:, None] - y) ** 2
    return torch.exp(-square / 0.005).expand(1, 1, 3, size, size).clone()


def centre(picture: torch.Tensor) -> torch.Tensor:
    """(x, y) of the middle of a picture's brightness [size, size]."""
    line = (torch.arange(picture.shape[-1]) + 0.5) / picture.shape[-1] * 2 - 1
    weight = picture / picture.sum()
    return torch.stack([(weight.sum(0) * line).sum(), (weight.sum(1) * line).sum()])


@pytest.mark.parametrize("seed", range(8))
def test_points_move_as_the_picture_does(seed):
    """Half of these grids mirror."""
    grid = random_grid(np.random.default_rng(seed), 96, PictureAugmentation())
    for x, y in ((-0.3, 0.4), (0.25, 0.5), (0.0, -0.2)):
        warped = sample_grid(dot(96, x, y), grid[None])[0, 0, 0]
        moved = move_points(torch.tensor([[x, y]]), grid)[0]
        assert (moved - centre(warped)).abs().max() < 0.02


@pytest.mark.parametrize("seed", range(8))
def test_moved_points_invert_the_grid(seed):
    grid = random_grid(np.random.default_rng(seed), 64, PictureAugmentation())
    points = torch.rand(50, 2, generator=torch.manual_seed(seed)) - 0.5
    moved = move_points(points, grid)
    back = torch.nn.functional.grid_sample(
        grid.permute(2, 0, 1)[None], moved[None, None], padding_mode="border", align_corners=False
    )[0, :, 0].T
    assert (back - points).abs().max() < 2e-3


def test_without_amounts_nothing_moves():
    picture = torch.rand(1, 2, 3, 32, 32)
    grid = random_grid(np.random.default_rng(0), 32, STILL)
    torch.testing.assert_close(sample_grid(picture, grid[None]), picture, atol=1e-5, rtol=0)
    assert not STILL.moves
    assert all(
        PictureAugmentation(
            **{**{"rotation": 0, "scale": 0, "shift": 0, "warp": 0, "mirror": False}, key: value}
        ).moves
        for key, value in (("rotation", 1.0), ("scale", 0.1), ("shift", 0.1), ("warp", 0.1), ("mirror", True))
    )


def test_half_of_the_grids_mirror_where_that_is_asked_for():
    only = PictureAugmentation(rotation=0, scale=0, shift=0, warp=0, mirror=True)
    rng = np.random.default_rng(0)
    mirrored = [
        bool(grid[0, 0, 0] > grid[0, -1, 0]) for grid in (random_grid(rng, 8, only) for _ in range(200))
    ]
    assert 70 < sum(mirrored) < 130


def test_one_grid_moves_all_frames_of_a_sample_alike():
    frame = torch.rand(3, 32, 32)
    warped = sample_grid(
        frame.expand(1, 4, 3, 32, 32), random_grid(np.random.default_rng(3), 32, PictureAugmentation())[None]
    )
    assert (warped[0] == warped[0, :1]).all()


@pytest.mark.parametrize("seed", range(5))
def test_colours_stay_between_0_and_1(seed):
    pictures = torch.rand(2, 3, 8, 8)
    pictures[0, :, 0] = 0
    pictures[0, :, 1] = 1
    changed = Colour.draw(np.random.default_rng(seed), 1.0).apply(pictures)
    assert changed.shape == pictures.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed - pictures).abs().max() > 0.01


def test_an_amount_of_0_changes_no_colour():
    pictures = torch.rand(2, 3, 8, 8).clamp(min=1e-3)
    torch.testing.assert_close(Colour.draw(np.random.default_rng(0), 0.0).apply(pictures), pictures)


def speech() -> np.ndarray:
    """[32, 200]: silence, then sound from column 100 on."""
    log_mel = np.full((32, 200), FLOOR, np.float32)
    log_mel[:, 100:] = 6 + np.sin(np.arange(32))[:, None]
    return log_mel


def augmented(seed: int, amount: VoiceAugmentation) -> np.ndarray:
    return augment_voice(speech(), np.random.default_rng(seed), amount, per_decibel=PER_DECIBEL, floor=FLOOR)


@pytest.mark.parametrize("seed", range(12))
def test_another_voice_keeps_the_time_axis(seed):
    """What was silent before the sound stays quieter than the sound, column by column."""
    changed = augmented(seed, VoiceAugmentation(probability=1.0))
    assert changed.shape == (32, 200)
    assert changed.dtype == np.float32
    loudness = changed.max(axis=0)
    assert loudness[100:].min() > loudness[:100].max()


def test_another_voice_is_never_below_silence():
    assert (
        min(float(augmented(seed, VoiceAugmentation(probability=1.0)).min()) for seed in range(12)) >= FLOOR
    )


def test_as_many_voices_are_changed_as_asked_for():
    changed = [
        not np.array_equal(augmented(seed, VoiceAugmentation(probability=0.5)), speech())
        for seed in range(200)
    ]
    assert 70 < sum(changed) < 130
    assert np.array_equal(augmented(0, VoiceAugmentation(probability=0.0)), speech())


def test_a_gain_is_as_many_decibels_in_the_units_of_the_mel():
    only_gain = VoiceAugmentation(probability=1.0, tract=0, equaliser=0, gain=6.0, noise=200.0, smear=0.1)
    louder = [
        float(np.median(augmented(seed, only_gain)[:, 150:] - speech()[:, 150:])) for seed in range(300)
    ]
    assert np.std(louder) / PER_DECIBEL == pytest.approx(6.0, rel=0.2)


def test_the_same_seed_gives_the_same_voice_and_grid():
    amount = VoiceAugmentation()
    assert np.array_equal(augmented(5, amount), augmented(5, amount))
    first, second = (random_grid(np.random.default_rng(5), 16, PictureAugmentation()) for _ in range(2))
    assert torch.equal(first, second)
