from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.network_report import SOUNDS, Robustness, Stability
from lipsync_cli.evaluation.networks import CHANGES, SHIFT, Examiner, changed_pictures
from lipsync_cli.evaluation.pairs import ExaminedNetwork, RealPairs, real_pairs, with_next
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


def test_real_pairs_do_not_overlap_and_fit_better_than_both_kinds_of_wrong_ones(
    world: Any, clips: list[RealPairs]
) -> None:
    assert [clip.pictures["lips"].shape for clip in clips] == [(15, 5, 48, 96, 3)] * 2
    assert np.diff(clips[0].times) == pytest.approx(0.2)
    stability = Stability()
    for clip, other in with_next(clips):
        scores = Examiner(clip, other, ExaminedNetwork(world.scorer)).real()
        assert scores.right.mean() > scores.other_time.mean() + 0.05
        assert scores.right.mean() > scores.other_clip.mean() + 0.05
        stability.update(clip, other, {"loudness": ExaminedNetwork(world.scorer)})
    values = stability.analysis().values["loudness"]
    assert values["n_pairs"] == 30
    assert values["told_apart"] > 0.7
    assert [clip["clip"] for clip in values["clips"]] == ["clip0", "clip1"]
    assert values["cosine"]["mean"] == pytest.approx(np.mean([clip["cosine"] for clip in values["clips"]]))


def test_a_wrong_pair_has_the_sound_that_it_says(clips: list[RealPairs]) -> None:
    heard: list[Tensor] = []

    def listening(lips: Tensor, mel: Tensor) -> Tensor:
        heard.append(mel)
        return torch.zeros(len(lips))

    first, second = clips
    Examiner(first, second.sound, ExaminedNetwork(listening)).real()  # type: ignore[arg-type]
    right, other_time, other_clip = heard
    assert torch.equal(right, first.sound.windows(first.times.tolist(), "mel"))
    assert torch.equal(other_time[7], right[0])  # of 15 pairs, 7 further on
    assert torch.equal(other_clip, second.sound.windows(first.times.tolist(), "mel"))
    assert not torch.equal(other_clip, right)


def test_a_shift_of_the_sound_hurts_right_pairs_only_and_no_change_is_the_real_pair(
    world: Any, clips: list[RealPairs]
) -> None:
    examiner = Examiner(clips[0], clips[1].sound, ExaminedNetwork(world.scorer))
    real = examiner.real()
    for change, neutral in zip(CHANGES, (0, 0, 1, 0, 1), strict=True):
        unchanged = examiner.changed(change, neutral)
        for sound in SOUNDS:
            assert getattr(unchanged, sound) == pytest.approx(getattr(real, sound), abs=1e-6), change
    means = {amount: examiner.changed(SHIFT, amount).right.mean() for amount in CHANGES[SHIFT]}
    assert max(means, key=lambda amount: means[amount]) == 0
    late = examiner.changed(SHIFT, 8)
    assert (
        len(late.right) == len(late.other_time) == len(late.other_clip) == 13
    )  # two would reach past the end
    assert late.other_time == pytest.approx(real.other_time[:13])


def test_a_brief_clip_with_no_pair_left_under_a_shift_drops_out_of_that_point_alone(world: Any) -> None:
    levels = world.loudness(15)
    film = world.film("brief", levels, sound=world.sound_of(levels))
    (clip,) = real_pairs({"brief": film}, Instruments(world.faces, world.faces))
    assert isinstance(clip, RealPairs)
    robustness = Robustness()
    robustness.update(clip, None, {"loudness": ExaminedNetwork(world.scorer)})
    curve = {
        point["amount"]: point["right"]["n"] for point in robustness.analysis().values["loudness"][SHIFT]
    }
    assert curve[0] == 1
    assert set(curve) == set(CHANGES[SHIFT])
    long_shift = Examiner(clip, None, ExaminedNetwork(world.scorer)).changed(SHIFT, 60)
    assert len(long_shift.right) == len(long_shift.other_time) == len(long_shift.other_clip) == 0


def test_changes_do_to_pictures_what_they_say() -> None:
    lips = np.zeros((1, 5, 48, 96, 3), np.uint8)
    lips[:, :, 20:28, 40:56] = 100
    moved = changed_pictures(lips, "translation (share of the width)", 0.1)
    assert np.argwhere(moved[0, 0, 24, :, 0] > 50)[0] == pytest.approx(50, abs=1)  # 0.1 of 96 to the right
    assert changed_pictures(lips, "brightness (factor)", 1.5).max() == 150
    larger = changed_pictures(lips, "scale", 1.3)
    assert (larger > 50).sum() / (lips > 50).sum() == pytest.approx(1.69, abs=0.15)
    turned = changed_pictures(lips, "rotation (degrees)", 20.0)
    assert (turned != lips).any()
    assert (turned > 50).sum() == pytest.approx((lips > 50).sum(), rel=0.1)


def test_the_analyses_tell_plot_and_count_every_network(world: Any, clips: list[RealPairs]) -> None:
    networks = {
        "loudness": ExaminedNetwork(world.scorer),
        "circle": ExaminedNetwork(world.embedding_scorer),
    }
    analyses = Stability(), Robustness()
    for clip, other in with_next(clips):
        for analysis in analyses:
            analysis.update(clip, other, networks)
    steady, robust = (analysis.analysis() for analysis in analyses)
    for found in (steady, robust):
        assert found.picture.startswith(PNG)
        assert set(found.values) == set(networks)
        assert sum("loudness" in line for line in found.lines) >= 1
    for wrong in ("another time", "another clip"):
        assert any(f"circle, wrong: {wrong}" in line for line in robust.lines)
    scale = robust.values["circle"]["scale"]
    assert [point["amount"] for point in scale] == list(CHANGES["scale"])
    assert all(
        point["right"]["mean"] > point["other_time"]["mean"] for point in scale if point["amount"] == 1
    )


def test_one_clip_has_no_wrong_pairs_of_another_clip(world: Any, clips: list[RealPairs]) -> None:
    ((clip, other),) = with_next(clips[:1])
    assert other is None
    analyses = Stability(), Robustness()
    for analysis in analyses:
        analysis.update(clip, other, {"loudness": ExaminedNetwork(world.scorer)})
        assert analysis.analysis().picture.startswith(PNG)
    assert analyses[0].analysis().values["loudness"]["other_clip"] is None
    assert not any("another clip" in line for line in analyses[1].analysis().lines)


def test_a_network_of_faces_is_shown_whole_faces_and_cepstra(world: Any) -> None:
    levels = world.loudness(40)
    video = world.film("video", levels, sound=world.sound_of(levels))
    shapes: list[tuple[int, ...]] = []

    class Looking:
        lips_size = (224, 224)

        def embed_lips(self, lips: Tensor) -> Tensor:
            shapes.append(tuple(lips.shape[1:]))
            return torch.ones(len(lips), 1)

        def embed_speech(self, mfcc: Tensor) -> Tensor:
            shapes.append(tuple(mfcc.shape[1:]))
            return torch.ones(len(mfcc), 1)

        def __call__(self, lips: Tensor, mel: Tensor) -> Tensor:
            raise AssertionError("asked twice")

    (clip,) = real_pairs({"a": video}, Instruments(world.faces, world.faces), ["face"])
    assert isinstance(clip, RealPairs)
    Examiner(clip, None, ExaminedNetwork(Looking(), "face", "mfcc")).real()
    assert set(shapes) == {(5, 3, 224, 224), (1, 13, 20)}


def test_clips_without_sound_or_face_are_told(world: Any) -> None:
    silent = world.film("silent", world.loudness(30), sound=np.zeros(19200, np.float32))
    blank = world.film("blank", [0.5] * 30, hidden=range(30), sound=world.sound_of(world.loudness(30)))
    found = list(real_pairs({"a": silent, "b": blank}, Instruments(world.faces, world.faces)))
    assert [type(each) for each in found] == [LeftOut, LeftOut]
    assert "silent" in found[0].reason
    assert "0 pairs" in found[1].reason
    for analysis in (Stability(), Robustness()):
        with pytest.raises(DataError, match="no real clip"):
            analysis.analysis()


def test_a_network_that_breaks_is_told(clips: list[RealPairs]) -> None:
    broken = ExaminedNetwork(lambda lips, mel: torch.full((len(lips),), float("nan")))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not finite"):
        Examiner(clips[0], None, broken).real()


@pytest.mark.slow
def test_a_long_video_is_not_held_to_choose_a_few_pairs_of_it(world: Any) -> None:
    levels = world.loudness(300)
    video = world.film("long", levels, sound=world.sound_of(levels))
    instruments = Instruments(world.faces, world.faces)
    (_,) = real_pairs({"a": video}, instruments, ["face"], most=2)  # what is loaded once is loaded now
    tracemalloc.start()
    (clip,) = real_pairs({"a": video}, instruments, ["face"], most=4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(clip, RealPairs)
    assert len(clip.times) == 4
    assert peak < 25e6  # all 300 faces: 45 MB, and as much again where they are put together
