from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lipsync_cli.data.layout import open_cache
from lipsync_cli.regions import to_network
from lipsync_cli.speech.windows import MelWindows
from lipsync_cli.training.compute import Compute
from lipsync_cli.training.figures import (
    FaceFigures,
    Mouths,
    Talker,
    correlation,
    hear_embedding,
    hear_mel,
    lip_distance,
    measure_clip,
    mouth_sharpness,
    sample_sheet,
)


def dark_rows(crops) -> np.ndarray:
    """Opening: the dark pixels in the middle of the lower half, over the side."""
    half = crops.shape[1] // 2
    return (crops[:, half:, half - 1 : half + 1].mean(axis=(2, 3)) < 80).mean(axis=1).astype(np.float32)


def look(crops) -> Mouths:
    """One lip point: the lower end of the dark part."""
    dark = dark_rows(crops)
    ends = np.stack([np.full_like(dark, 16), 24 + 8 * dark], axis=1)
    return Mouths(dark, ends[:, None])


class Mouth(nn.Module):
    """Draws what it is told: speech [B, 1] is the number of a frame of the clip, -1 the closed reference."""

    image_size, hears, scalable = 32, "frames", False

    def __init__(self, frames: Tensor, n_references: int) -> None:
        super().__init__()
        self.frames = frames
        self.n_references = n_references

    def forward(self, speech: Tensor, references: Tensor, pose: Tensor) -> Tensor:
        assert references.shape[1] == self.n_references
        faces = torch.stack(
            [self.frames[int(n)] if n >= 0 else references[i, 0] for i, n in enumerate(speech[:, 0])]
        )
        faces[:, :, :16] = pose[:, :, :16]
        return faces


@pytest.fixture
def clip(draw_corpus):
    return open_cache(draw_corpus().folder)[1][0]


def talker(clip, *, says=lambda n: n, n_references: int = 2, silenced=lambda picture: picture) -> Talker:
    frames = to_network(clip.crops(list(range(clip.n_frames))))

    def hear(one, offset: int) -> Tensor:
        return torch.tensor([[says((n + offset) % one.n_frames)] for n in range(one.n_frames)]).float()

    return Talker(Mouth(frames, n_references), Compute(), hear, torch.tensor([-1.0]), silenced)


def test_a_generator_that_draws_the_real_frames_has_perfect_figures(clip):
    figures = measure_clip(talker(clip), clip, look)
    assert figures.opening_r == pytest.approx(1)
    assert figures.amplitude == pytest.approx(1)
    assert figures.sharpness == pytest.approx(1)
    assert figures.gain_db > 20
    assert figures.still_r == pytest.approx(1)
    assert figures.lmd == 0


def test_a_mouth_that_stays_as_the_reference_does_not_move_and_gains_nothing(clip):
    figures = measure_clip(talker(clip, says=lambda n: -1), clip, look)
    assert (figures.opening_r, figures.amplitude, figures.gain_db) == (0, 0, 0)


def test_a_mouth_that_lags_behind_correlates_less_and_an_offset_puts_it_right(clip):
    late = talker(clip, says=lambda n: (n - 4) % 30)
    assert measure_clip(late, clip, look).opening_r < 0.8
    assert measure_clip(late, clip, look, offset=4).opening_r == pytest.approx(1)


def test_silence_is_measured_with_the_closed_and_with_the_open_mouth_as_reference(clip):
    """This generator shows its reference when it hears silence."""
    figures = measure_clip(talker(clip), clip, look)
    order = np.argsort(clip.openings, kind="stable")
    crops = clip.crops(list(range(30)))
    widest = np.percentile(dark_rows(crops), 95)
    closed, opened = (float(dark_rows(crops[[order[place]]])[0]) for place in (30 // 12, 29 - 30 // 16))
    assert figures.silent == pytest.approx(closed / widest)
    assert figures.silent_open == pytest.approx(opened / widest)
    assert figures.silent < 0.5 < figures.silent_open


def test_a_generator_with_one_reference_gets_one_after_it_was_silenced(clip):
    shown: list[Tensor] = []

    def silenced(picture: Tensor) -> Tensor:
        shown.append(picture)
        return torch.zeros_like(picture)

    dark = talker(clip, says=lambda n: -1, n_references=1, silenced=silenced)
    assert measure_clip(dark, clip, look).silent_open == pytest.approx(
        1 / np.percentile(dark_rows(clip.crops(list(range(30)))), 95)
    )
    assert len(shown) == 4
    assert not torch.equal(shown[0], shown[-1])


def test_clips_longer_than_twenty_seconds_are_measured_at_their_beginning(draw_corpus):
    clip = draw_corpus().add("z", "long", n_frames=520)
    measured: list[int] = []

    def counted(crops) -> Mouths:
        measured.append(len(crops))
        return look(crops)

    measure_clip(talker(clip), clip, counted)
    assert max(measured) == 500


def test_figures_of_clips_are_averaged():
    names = FaceFigures.__dataclass_fields__
    mean = FaceFigures.mean([FaceFigures(**dict.fromkeys(names, value)) for value in (1.0, 2.0)])
    assert mean == dict.fromkeys(names, 1.5)
    assert FaceFigures.mean([]) == {}


def test_the_embedding_heard_around_a_frame_is_ten_steps_from_its_own_on(clip):
    steps = torch.from_numpy(clip.read("speech").astype(np.float32))
    heard = hear_embedding(clip)
    assert heard.shape == (30, 10, 384)
    assert torch.equal(heard[7], steps[7:17])
    assert torch.equal(hear_embedding(clip, offset=3)[7], steps[10:20])
    assert torch.equal(hear_embedding(clip, offset=3)[29], steps[29:39])  # as late as there is


def test_the_mel_heard_around_a_frame_is_the_window_of_its_time(clip):
    windows = MelWindows(clip.read("mel"))
    heard = hear_mel(clip)
    assert heard.shape == (30, 1, 80, 16)
    assert torch.equal(heard[7], windows.around([7 / 25])[0])
    assert torch.equal(hear_mel(clip, offset=3)[7], windows.around([10 / 25])[0])


def test_a_sheet_has_two_rows_a_clip(clip):
    sheet = sample_sheet(talker(clip), [clip, clip])
    assert sheet is not None
    assert sheet.shape == (4 * 32, 11 * 32, 3)
    assert sheet.dtype == np.uint8
    assert np.array_equal(sheet[:32, 32:], sheet[32:64, 32:])  # this one draws the real frames
    assert sample_sheet(talker(clip), []) is None


def test_a_curve_that_does_not_move_correlates_with_nothing():
    moving = np.arange(5, dtype=np.float32)
    assert correlation(moving, 2 * moving + 1) == pytest.approx(1)
    assert correlation(moving, -moving) == pytest.approx(-1)
    assert correlation(moving, np.ones(5, np.float32)) == 0


def test_a_blurred_mouth_is_less_sharp(clip):
    crops = clip.crops([0, 10])
    blurred = np.repeat(np.repeat(crops[:, ::4, ::4], 4, axis=1), 4, axis=2)
    flat = np.full_like(crops, 100)
    assert mouth_sharpness(flat) == 0
    assert mouth_sharpness(crops) > 0
    assert mouth_sharpness(crops) != mouth_sharpness(blurred)


def test_the_lip_distance_is_that_of_the_frames_where_both_have_a_face():
    real = np.zeros((3, 2, 2), np.float32)
    ours = np.array([[[3, 4], [0, 0]], [[np.nan, 0], [0, 0]], [[0, 1], [0, 2]]], np.float32)
    assert lip_distance(ours, real) == pytest.approx((2.5 + 1.5) / 2)
    assert lip_distance(np.full_like(real, np.nan), real) == float("inf")
