"""Table 2 of the paper: every setup by its own file, every switch of it real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli import assembly_judging, assembly_training
from lipsync_cli.data.layout import open_cache
from lipsync_cli.errors import DataError, SettingsError, WeightsError
from lipsync_cli.losses.sync import lip_sync_loss, stabilized_sync_loss, sync_scores
from lipsync_cli.models.public_adapters import SyncNet
from lipsync_cli.regions import lower_half
from lipsync_cli.registry.checkpoint import load_network
from lipsync_cli.training.generator import Shown
from lipsync_cli.training.stages import ABLATIONS, AskedSettings, resolve
from tests.training.conftest import Maps

NOWHERE = Path("/nowhere")
TINY = """
recipe = "paper"

[loop]
steps = 2
films = false

[corpus]
validation_speakers = []

[sampling]
n_windows = 2

[coefficients]
perceptual = 0.5

[network]
image_size = 32
stem = 4
widths = [4, 6, 8, 8, 8]
strides = [2, 2, 2, 2, 2]

[network.speech]
widths = [4, 6]
depths = [1, 1]
strides = [2, 2]
squeeze = 2
attention = 4
outputs = 8

[discriminator]
widths = [4, 6, 8, 8, 8]
strides = [2, 2, 2, 2, 2]
"""
SYNCNET, AVSYNCNET = ("syncnet", "lip_sync"), ("avsyncnet", "stabilized")
TABLE = {
    # sync network, sync loss, triplet, listens, frozen, G_S, restorer
    "a": ("syncnet", "lip_sync", "none", "mel", False, False, "none"),
    "b": ("syncnet", "lip_sync", "none", "mel", True, False, "none"),
    "c": ("syncnet", "lip_sync", "none", "features", True, False, "none"),
    "d": ("syncnet", "lip_sync", "none", "mel", True, True, "none"),
    "e": ("syncnet", "stabilized", "none", "mel", True, True, "none"),
    "f": ("syncnet", "stabilized", "vanilla", "mel", True, True, "none"),
    "g": ("syncnet", "stabilized", "adaptive", "mel", True, True, "none"),
    "h": ("avsyncnet", "stabilized", "adaptive", "mel", True, True, "none"),
    "fr1": ("avsyncnet", "stabilized", "adaptive", "mel", True, True, "gpen"),
    "fr2": ("avsyncnet", "stabilized", "adaptive", "mel", True, True, "gfpgan"),
    "fr3": ("avsyncnet", "stabilized", "adaptive", "mel", True, True, "vqfr"),
}


class Darker:
    """A restorer of crops as they are."""

    scale = 1
    template = None

    def __call__(self, faces: torch.Tensor) -> torch.Tensor:
        return faces / 2


@pytest.fixture
def surroundings(stages, tmp_path, monkeypatch):
    """Networks of the other stages, features of all clips, a VGG and a restorer that take no time."""
    monkeypatch.setattr(assembly_judging, "_vgg", lambda settings: Maps())
    monkeypatch.setattr(assembly_judging, "make_restorer", lambda settings, execution, used: Darker())
    (tmp_path / "tiny.toml").write_text(TINY)
    for clip in open_cache(stages.cache)[1]:
        folder = tmp_path / "features" / clip.speaker
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{clip.name}.npy", np.random.default_rng(0).random((60, 768), np.float32))
    np.save(tmp_path / "features" / "silence.npy", np.zeros((9, 768), np.float32))
    files = {}
    for name, stage in (("avsyncnet", "avsyncnet"), ("syncnet", "syncnet"), ("silent_lip", "gs")):
        files[name] = stages.build(stage).save(tmp_path, {})
    return files


def plan(setup: str, cache: Path, tmp_path: Path, files, *overrides: str):
    _, _, _, listens, frozen, with_g_s, _ = TABLE[setup]
    more = [f"base={tmp_path / 'tiny.toml'}", *overrides]
    if listens == "features":
        more.append(f"features.folder={tmp_path / 'features'}")
    needed = {"syncnet"} if TABLE[setup][0] == "syncnet" else {"avsyncnet"}
    needed |= {"avsyncnet"} if listens == "mel" and frozen else set()
    needed |= {"silent_lip"} if with_g_s else set()
    flags = {name: str(files[name]) for name in needed}
    asked = AskedSettings(stage="gl", config=f"ablations/{setup}", overrides=more, flags=flags)
    job = assembly_training.TrainJob(
        asked=asked, data=cache, folder=tmp_path / setup, device="cpu", precision="fp32"
    )
    return assembly_training.plan_training(job)


def test_the_files_are_those_of_the_table():
    assert {f"ablations/{name}" for name in TABLE} == set(ABLATIONS)


@pytest.mark.parametrize("setup", TABLE)
def test_every_setup_has_the_switches_of_its_row_at_the_papers_size_and_small(setup):
    for base in ("paper", "small"):
        more = [f"base={base}", *(["features.folder=x"] if setup == "c" else [])]
        _, found = resolve(
            AskedSettings(stage="gl", config=f"ablations/{setup}", overrides=more), NOWHERE, None
        )
        switches = (
            found.sync_network,
            found.sync_loss,
            found.triplet,
            found.network.listens,
            found.network.frozen_speech,
            found.silence_references,
            found.restorer,
        )
        assert switches == TABLE[setup]
        coefficients = found.coefficients
        assert (coefficients.gan, coefficients.pixel, coefficients.perceptual, coefficients.sync) == (
            1,
            10,
            1,
            2,
        )
        assert coefficients.triplet == (0 if TABLE[setup][2] == "none" else 0.5)
        assert found.network.stem == (16 if base == "paper" else 8)


@pytest.mark.parametrize("setup", TABLE)
def test_every_setup_trains(stages, tmp_path, surroundings, setup):
    training = plan(setup, stages.cache, tmp_path, surroundings)
    stage = training.run.stage
    hears = {name: tensor.clone() for name, tensor in stage.generator.audio_encoder.named_parameters()}
    told = []
    assert training.go(told.append, lambda: False) == 2
    terms = {"gan", "pixel", "perceptual", "sync", "discriminator"}
    assert told[-1].losses.keys() == terms | ({"triplet"} if TABLE[setup][2] != "none" else set())
    changed = [
        not torch.equal(hears[name], now) for name, now in stage.generator.audio_encoder.named_parameters()
    ]
    learns = TABLE[setup][3] == "features" or not TABLE[setup][4]
    assert any(changed) == learns
    assert isinstance(stage.sync_network, SyncNet) == (TABLE[setup][0] == "syncnet")
    assert load_network(tmp_path / setup / "talking_face.safetensors").hears == TABLE[setup][3]


@pytest.mark.parametrize("setup", ["d", "e"])
def test_the_sync_loss_is_that_of_the_setup(stages, tmp_path, surroundings, setup):
    stage = plan(setup, stages.cache, tmp_path, surroundings).run.stage
    pictures, mel = torch.rand(3, 10, 3, 32, 32), stage.draw(0).sync_mel
    lips = [lower_half(one).unflatten(0, (2, 5)) for one in pictures]
    scores = sync_scores(stage.sync_network, mel, generated=lips[0], target=lips[1], reference=lips[2])
    expected = lip_sync_loss(scores.x) if setup == "d" else stabilized_sync_loss(scores)
    torch.testing.assert_close(stage.terms(Shown(*pictures, mel, Maps()))["sync"], expected)


def test_references_are_silenced_only_with_g_s(stages, tmp_path, surroundings):
    pictures = torch.rand(2, 3, 32, 32)
    for setup in ("b", "d"):
        stage = plan(setup, stages.cache, tmp_path, surroundings).run.stage
        assert torch.equal(stage.identity(pictures), pictures) == (setup == "b")


def test_restored_faces_are_what_is_measured_and_shown(stages, tmp_path, surroundings):
    plain, restored = (
        plan(setup, stages.cache, tmp_path, surroundings, 'corpus.validation_speakers=["e"]').run.stage
        for setup in ("h", "fr3")
    )
    ours, sharpened = plain.films()[0].frames[:, :, 32:], restored.films()[0].frames[:, :, 32:]
    assert np.abs(sharpened.astype(int) - ours / 2).max() <= 1


def test_features_of_another_width_or_none_for_a_clip_are_told(stages, tmp_path, surroundings):
    stage = plan("c", stages.cache, tmp_path, surroundings).run.stage
    assert stage.draw(0).mel.shape == (2, 5, 10, 768)
    for path in (tmp_path / "features").glob("*/*.npy"):
        path.unlink()
    with pytest.raises(DataError, match=r"clip\d\.npy: features cannot be read"):
        stage.draw(0)
    for clip in open_cache(stages.cache)[1]:
        np.save(tmp_path / "features" / clip.speaker / f"{clip.name}.npy", np.zeros((60, 5), np.float32))
    with pytest.raises(DataError, match=r"features of 60 x 5, not T x network\.features\.width = 768"):
        stage.draw(0)


@pytest.mark.parametrize(
    ("setup", "change", "message"),
    [
        ("a", "triplet=none", None),
        ("h", "triplet=none", "triplet = 'none', but coefficients.triplet is not 0"),
        ("b", "silent_lip=x.safetensors", "silent_lip names a G_S"),
        ("h", "syncnet=x.safetensors", "sync_network is 'avsyncnet'"),
        ("h", "restorer_weights=x.pth", "restorer_weights names a file"),
        ("c", "network.frozen_speech=false", "frozen_speech = false lets E_A learn"),
        ("c", "voice.probability=0.5", "set voice.probability = 0"),
        ("c", "features.rate=50", "needs features.folder"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(setup, change, message):
    asked = AskedSettings(stage="gl", config=f"ablations/{setup}", overrides=(change,))
    if message is None:
        resolve(asked, NOWHERE, None)
        return
    with pytest.raises(SettingsError, match=message):
        resolve(asked, NOWHERE, None)


def test_ablations_are_of_stage_gl_and_bases_do_not_go_round(tmp_path):
    with pytest.raises(SettingsError, match="table 2 is about stage gl, not gs"):
        resolve(AskedSettings(stage="gs", config="ablations/h"), NOWHERE, None)
    for name, base in (("one", "two"), ("two", "one")):
        (tmp_path / f"{name}.toml").write_text(f'base = "{tmp_path / base}.toml"')
    with pytest.raises(SettingsError, match="comes back to itself"):
        resolve(AskedSettings(stage="gl", config=str(tmp_path / "one.toml")), NOWHERE, None)


def test_a_syncnet_that_is_missing_or_something_else_is_told(stages, tmp_path, surroundings):
    with pytest.raises(WeightsError, match="a AVSyncNet, not a SyncNet: name one with --syncnet"):
        plan("d", stages.cache, tmp_path, surroundings | {"syncnet": surroundings["avsyncnet"]})
