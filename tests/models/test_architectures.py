from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

import lipsync_cli
from lipsync_cli.errors import SettingsError
from lipsync_cli.models.architectures import ARCHITECTURES, build
from lipsync_cli.models.discriminator import Discriminator
from lipsync_cli.models.face_generator import UNetFaceGenerator, UNetSettings
from lipsync_cli.settings import from_mapping, to_mapping

CONFIGS = Path(lipsync_cli.__file__).parent / "configs"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_settings_survive_the_way_through_a_checkpoint(name):
    kind, _ = ARCHITECTURES[name]
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert from_mapping(kind, to_mapping(kind()), name) == kind()


@pytest.mark.parametrize("role", ["silent_lip", "talking_face"])
@pytest.mark.parametrize("size", ["paper", "small"])
def test_network_sections_of_the_settings_files_can_be_built(size, role):
    tables = tomllib.loads((CONFIGS / size / f"{role}.toml").read_text())
    network, discriminator = build("unet", tables["network"]), build("discriminator", tables["discriminator"])
    assert isinstance(network, UNetFaceGenerator)
    assert isinstance(discriminator, Discriminator)
    if size == "paper":
        assert network.settings == UNetSettings()


@pytest.mark.parametrize("size", ["paper", "small"])
def test_generators_hear_through_the_audio_encoder_of_their_avsyncnet(size):
    sync = tomllib.loads((CONFIGS / size / "avsyncnet.toml").read_text())["network"]
    for role in ("silent_lip", "talking_face"):
        generator = tomllib.loads((CONFIGS / size / f"{role}.toml").read_text())["network"]
        assert generator["speech"] == sync["speech"]


def test_an_unknown_architecture_names_the_nearest_one():
    with pytest.raises(SettingsError, match="unknown architecture 'avsynknet': did you mean 'avsyncnet'"):
        build("avsynknet", {})


def test_an_architecture_like_no_other_lists_all():
    with pytest.raises(SettingsError, match="known are: avsyncnet, discriminator"):
        build("?", {})


def test_an_unknown_setting_names_the_nearest_one():
    with pytest.raises(SettingsError, match=r"'lips\.widhts'.*did you mean 'lips\.widths'"):
        build("avsyncnet", {"lips": {"widhts": [1]}})


def test_a_setting_of_the_wrong_kind_is_refused():
    with pytest.raises(SettingsError, match="'stem' must be a whole number"):
        build("unet", {"stem": "wide"})
