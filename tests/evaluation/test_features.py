from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.features import Distances, FeatureCollector, LipsFeatures, PictureFeatures
from lipsync_cli.evaluation.folders import Pair, forget_journal, measure_pairs
from lipsync_cli.evaluation.results import ClipResult
from lipsync_cli.metrics.image import FrechetDistance

CPU = torch.device("cpu")


def _crops(seed: int, n_crops: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n_crops, 16, 16, 3), dtype=np.uint8)


def _colours() -> PictureFeatures:
    return PictureFeatures(lambda images: images.mean(dim=(2, 3)), CPU)


def test_features_are_those_of_all_crops_however_they_come(world: Any) -> None:
    made, real = _crops(0, 67), _crops(1, 67)
    collector = FeatureCollector({"colours": _colours()})
    for pair in zip(made, real, strict=True):
        collector.update(*pair)
    generated, target = collector.compute()["colours"]
    assert generated == pytest.approx(made.mean(axis=(1, 2)) / 255, abs=1e-6)
    assert target == pytest.approx(real.mean(axis=(1, 2)) / 255, abs=1e-6)


def test_windows_of_lips_never_cross_an_interruption(world: Any) -> None:
    collector = FeatureCollector({"lips": LipsFeatures(world.embedding_scorer, CPU)})
    for index, crop in enumerate(_crops(0, 14)):
        if index == 7:
            collector.interrupt()
        collector.update(crop, crop)
    assert collector.compute()["lips"][0].shape == (2, 2)  # 7 crops make one window of 5, twice


def test_the_distance_of_a_run_is_that_of_all_its_pictures() -> None:
    random = np.random.default_rng(0)
    clips = [(random.normal(size=(20, 3)), random.normal(1, 2, size=(20, 3))) for _ in range(4)]
    distances, whole = Distances(), FrechetDistance(3)
    for generated, real in clips:
        distances.update({"colours": (generated, real)})
    whole.update(*(np.concatenate([clip[side] for clip in clips]) for side in (0, 1)))
    found = distances.compute()["colours"]
    assert found.mean == pytest.approx(whole.compute(), rel=1e-9)
    assert found.n == 4
    assert np.isnan(found.low)


def test_a_run_that_goes_on_has_the_features_of_the_clips_before(world: Any, tmp_path: Path) -> None:
    real, made = world.film("real", world.loudness(30)), world.film("made", world.loudness(30, seed=1))
    journal = tmp_path / "journal"
    instruments = Instruments(world.faces, world.faces, features={"colours": _colours()})

    def outcome() -> ClipResult:
        (found,) = measure_pairs([Pair("a", real, made)], lambda: instruments, journal=journal)
        assert isinstance(found, ClipResult)
        return found

    first, again = outcome(), outcome()
    assert first.features["colours"][0].shape == (30, 3)
    for before, after in zip(first.features["colours"], again.features["colours"], strict=True):
        assert np.array_equal(before, after)
    forget_journal(journal)
    assert [path.suffix for path in tmp_path.iterdir()] == [".mp4", ".mp4"]
