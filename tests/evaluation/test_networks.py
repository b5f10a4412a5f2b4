from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.network_report import robustness, stability
from lipsync_cli.evaluation.networks import (
    CHANGES,
    RealPairs,
    changed_lips,
    disturbed,
    real_pairs,
    steadiness,
)
from lipsync_cli.evaluation.results import LeftOut

PNG = b"\x89PNG"


@pytest.fixture
def clips(world: Any) -> list[RealPairs]:
    videos = {}
    for seed in range(2):
        levels = world.loudness(75, seed=seed)
        videos[f"clip{seed}"] = world.film(f"clip{seed}", levels, sound=world.sound_of(levels))
    found = list(real_pairs(videos, Instruments(world.faces, world.faces)))
    return [each for each in found if isinstance(each, RealPairs)]


def test_real_pairs_do_not_overlap_and_fit_better_than_wrong_ones(world: Any, clips: list[RealPairs]) -> None:
    assert [clip.lips.shape for clip in clips] == [(15, 5, 48, 96, 3)] * 2
    assert np.diff(clips[0].times) == pytest.approx(0.2)
    found = steadiness(clips, world.scorer)
    assert len(found.scores) == 30
    assert found.per_clip.mean > found.mismatched.mean + 0.05
    assert found.told_apart > 0.7
    assert found.deviation == pytest.approx(float(found.scores.std()))


def test_a_shift_of_the_sound_hurts_and_no_change_is_the_real_pair(
    world: Any, clips: list[RealPairs]
) -> None:
    curves = disturbed(clips, world.scorer)
    real = steadiness(clips, world.scorer).per_clip.mean
    assert set(curves) == set(CHANGES)
    for change, neutral in zip(CHANGES, (0, 0, 1, 0, 1), strict=True):
        unchanged = next(summary for amount, summary in curves[change] if amount == neutral)
        assert unchanged.mean == pytest.approx(real, abs=1e-6), change
    shift = dict(curves["shift of the sound (frames)"])
    assert max(shift, key=lambda amount: shift[amount].mean) == 0


def test_changes_do_to_pictures_what_they_say() -> None:
    lips = np.zeros((1, 5, 48, 96, 3), np.uint8)
    lips[:, :, 20:28, 40:56] = 100
    moved = changed_lips(lips, "translation (share of the width)", 0.1)
    assert np.argwhere(moved[0, 0, 24, :, 0] > 50)[0] == pytest.approx(50, abs=1)  # 0.1 of 96 to the right
    assert changed_lips(lips, "brightness (factor)", 1.5).max() == 150
    larger = changed_lips(lips, "scale", 1.3)
    assert (larger > 50).sum() / (lips > 50).sum() == pytest.approx(1.69, abs=0.15)
    turned = changed_lips(lips, "rotation (degrees)", 20.0)
    assert (turned != lips).any()
    assert (turned > 50).sum() == pytest.approx((lips > 50).sum(), rel=0.1)


def test_the_analyses_tell_plot_and_count_every_network(world: Any, clips: list[RealPairs]) -> None:
    networks = {"loudness": world.scorer, "circle": world.embedding_scorer}
    steady, robust = stability(clips, networks), robustness(clips, networks)
    for analysis in (steady, robust):
        assert analysis.picture.startswith(PNG)
        assert set(analysis.values) == set(networks)
        assert sum("loudness" in line for line in analysis.lines) >= 1
    assert len(robust.values["circle"]["scale"]) == len(CHANGES["scale"])


def test_clips_without_sound_or_face_are_told(world: Any) -> None:
    silent = world.film("silent", world.loudness(30), sound=np.zeros(19200, np.float32))
    blank = world.film("blank", [0.5] * 30, hidden=range(30), sound=world.sound_of(world.loudness(30)))
    found = list(real_pairs({"a": silent, "b": blank}, Instruments(world.faces, world.faces)))
    assert [type(each) for each in found] == [LeftOut, LeftOut]
    assert "silent" in found[0].reason
    assert "0 pairs" in found[1].reason
    with pytest.raises(DataError, match="no real clip"):
        steadiness([], world.scorer)


def test_a_network_that_breaks_is_told(clips: list[RealPairs]) -> None:
    with pytest.raises(DataError, match="not finite"):
        steadiness(clips, lambda lips, mel: torch.full((len(lips),), float("nan")))
