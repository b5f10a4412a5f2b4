from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.errors import DataError, SettingsError
from lipsync_cli.models.avsyncnet import AVSyncNetSettings
from lipsync_cli.models.face_generator import UNetSettings
from lipsync_cli.training.settings import KeptSettings, keep_settings, kept_settings, require_same
from lipsync_cli.training.silent_lip import SilentLipTraining
from lipsync_cli.training.stages import CONFIGS, KINDS, AskedSettings, resolve, settings_file
from lipsync_cli.training.talking_face import TalkingFaceTraining
from lipsync_cli.training.warping import WarpingTraining

NOWHERE = Path("nowhere")


def kept(stage: str = "gl", recipe: str = "default", **loop: object) -> KeptSettings:
    settings = {
        "loop": {"steps": 100, "save_every": 10, "validate_every": 10, "seed": 0, **loop},
        "rate": 0.1,
    }
    return KeptSettings(stage, recipe, settings, {"device": "cpu"})


def asked(stage: str, config: str | None = None, *overrides: str, **flags: object) -> AskedSettings:
    return AskedSettings(stage=stage, config=config, overrides=overrides, flags=flags)


@pytest.mark.parametrize(
    ("config", "stage"),
    [(config, stage) for config in CONFIGS for stage in ("avsyncnet", "gs", "gl")]
    + [("default", "lip_reader"), ("default", "lip_predictor")],
)
def test_every_settings_file_that_comes_with_the_program_is_right(config, stage):
    resolved, settings = resolve(asked(stage, config), NOWHERE, None)
    assert type(settings) is KINDS[stage, "default" if config == "default" else "paper"]
    assert resolved.settings["loop"]["steps"] == settings.loop.steps


def test_the_paper_set_holds_what_the_paper_states():
    for stage, kind in (("gs", SilentLipTraining), ("gl", TalkingFaceTraining)):
        _, settings = resolve(asked(stage, "paper"), NOWHERE, None)
        assert type(settings) is kind
        assert settings.network == UNetSettings()
        assert settings.coefficients == kind().coefficients
        assert (settings.rate, settings.loop.schedule, settings.loop.warm_up) == (1e-4, "constant", 0)
        assert not settings.picture.moves
        assert settings.picture.colour == settings.voice.probability == 0
    _, sync = resolve(asked("avsyncnet", "paper"), NOWHERE, None)
    assert sync.network == AVSyncNetSettings()
    assert (sync.loss, sync.optimizer, sync.rate, sync.loop.schedule) == ("bce", "adam", 1e-4, "constant")


def test_small_generators_hear_through_the_default_avsyncnet():
    """So that stages gs and gl of the small set can use the network that comes with the program."""
    _, sync = resolve(asked("avsyncnet", "default"), NOWHERE, None)
    for stage in ("gs", "gl"):
        assert resolve(asked(stage, "small"), NOWHERE, None)[1].network.speech == sync.network.speech
    assert resolve(asked("avsyncnet", "small"), NOWHERE, None)[1].network == sync.network


def test_without_a_settings_file_the_default_set_counts():
    for stage in ("gs", "gl"):
        resolved, settings = resolve(asked(stage), NOWHERE, None)
        assert resolved.recipe == "default"
        assert type(settings) is WarpingTraining
    assert resolve(asked("gs"), NOWHERE, None)[1] == resolve(asked("gl"), NOWHERE, None)[1]


def test_settings_of_the_default_generator_are_those_it_was_measured_with():
    """But for how long it trains and who is kept out."""
    import dataclasses

    _, settings = resolve(asked("gl"), NOWHERE, None)
    plain = WarpingTraining()
    for field in dataclasses.fields(plain):
        if field.name not in ("loop", "corpus"):
            assert getattr(settings, field.name) == getattr(plain, field.name), field.name


def test_overrides_and_flags_change_single_settings_in_this_order():
    flags = {"loop.steps": 7, "loop.seed": None, "lip_reader": "reader"}
    _, settings = resolve(
        AskedSettings(
            stage="gl", overrides=("loop.steps=5", "coefficients.pixel=2", "loop.seed=3"), flags=flags
        ),
        NOWHERE,
        None,
    )
    assert (settings.loop.steps, settings.loop.seed, settings.coefficients.pixel) == (7, 3, 2)
    assert settings.lip_reader == "reader"


def test_files_of_networks_are_kept_from_the_root_on_and_names_as_they_are(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for given, expected in (
        ("runs/r.safetensors", str(tmp_path / "runs/r.safetensors")),
        ("r.safetensors", str(tmp_path / "r.safetensors")),
        ("lip_reader", "lip_reader"),
    ):
        assert resolve(asked("gl", None, lip_reader=given), NOWHERE, None)[1].lip_reader == expected


def test_a_settings_file_of_the_users_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('recipe = "paper"\nrate = 0.5\n[coefficients]\nsync = 0\ntriplet = 0\n')
    resolved, settings = resolve(asked("gs", str(path)), NOWHERE, None)
    assert (resolved.recipe, settings.rate) == ("paper", 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raet = 1", r"mine\.toml: unknown key 'raet': did you mean 'rate'"),
        ("[loop]\nstpes = 1", r"mine\.toml: unknown key 'loop\.stpes': did you mean 'loop\.steps'"),
        ('[loop]\nsteps = "many"', r"mine\.toml: 'loop\.steps' must be a whole number, not 'many'"),
        ("[loop]\nsteps = 0", r"mine\.toml: loop\.steps must be at least 1"),
        ('recipe = "best"', r"mine\.toml: stage gl has no recipe 'best': use 'default' or 'paper'"),
        ("rate = ", r"mine\.toml: not TOML"),
    ],
)
def test_a_wrong_settings_file_names_file_and_key(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        resolve(asked("gl", str(path)), NOWHERE, None)


def test_a_missing_settings_file_is_named():
    with pytest.raises(SettingsError, match=r"no/such\.toml: cannot read the settings"):
        resolve(asked("gl", "no/such.toml"), NOWHERE, None)


def test_a_stage_that_a_set_does_not_have_is_refused():
    with pytest.raises(SettingsError, match="--config paper: this set has no settings for stage lip_reader"):
        settings_file("lip_reader", "paper")


def test_an_unknown_stage_lists_those_that_there_are():
    with pytest.raises(
        SettingsError, match="unknown stage 'gx': use one of syncnet, avsyncnet, gs, gl, lip_reader"
    ):
        resolve(asked("gx"), NOWHERE, None)


@pytest.mark.parametrize(
    ("stage", "flag"), [("avsyncnet", "silent_lip"), ("gl", "vgg"), ("lip_reader", "avsyncnet")]
)
def test_a_flag_for_a_network_that_the_stage_does_not_use_is_refused(stage, flag):
    option = "--" + flag.replace("_", "-")
    with pytest.raises(
        SettingsError, match=f"{option} has no meaning here: stage {stage} with recipe 'default'"
    ):
        resolve(asked(stage, None, **{flag: "x"}), NOWHERE, None)


def test_a_run_that_goes_on_needs_no_settings_file(tmp_path):
    resolved, _ = resolve(asked("gs", "small", "rate=0.5"), tmp_path, None)
    again, settings = resolve(asked("gs"), tmp_path, resolved)
    assert again == resolved
    assert settings.rate == 0.5


def test_a_run_does_not_go_on_as_another_stage_or_recipe(tmp_path):
    resolved, _ = resolve(asked("gs", "small"), tmp_path, None)
    with pytest.raises(
        SettingsError, match="the run is of stage gs with recipe 'paper', not of stage gl with"
    ):
        resolve(asked("gl"), tmp_path, resolved)
    with pytest.raises(SettingsError, match="not of stage gs with recipe 'default'"):
        resolve(asked("gs", "default"), tmp_path, resolved)


def test_settings_are_kept_and_read_back(tmp_path):
    assert kept_settings(tmp_path) is None
    keep_settings(tmp_path / "run", kept())
    assert kept_settings(tmp_path / "run") == kept()


@pytest.mark.parametrize("content", ["{", "[]", '{"stage": "gl"}'])
def test_kept_settings_that_are_damaged_are_named(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(DataError, match=r"settings\.json: cannot be read"):
        kept_settings(tmp_path)


@pytest.mark.parametrize("change", [{"steps": 200}, {"save_every": 99}, {"validate_every": 1}, {}])
def test_a_run_may_go_on_for_longer_and_save_at_other_times(change):
    require_same(NOWHERE, kept(), kept(**change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 50}, r"with loop\.steps = 100, not 50: steps may grow, not shrink"),
        ({"seed": 1}, r"with loop\.seed = 0, not 1: leave it as it was"),
        ({"new": 1}, r"with loop\.new = \(not set\), not 1"),
    ],
)
def test_a_run_that_would_go_on_as_another_names_the_key(change, message):
    with pytest.raises(SettingsError, match=message):
        require_same(NOWHERE, kept(), kept(**change))
