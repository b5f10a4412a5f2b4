from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_cli.errors import SettingsError, WeightsError
from lipsync_cli.registry.entries import read_registry

ENTRY = """
[weights.small]
file = "small.safetensors"
sha256 = "00"
bytes = 3
licence = "CC0-1.0"
architecture = "lip_reader"
roles = ["lip_reader", "judge"]
"""
SETS = '[sets.default]\nlip_reader = "small"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.toml"


def test_entries_are_found_by_name_and_by_role_in_a_set(path: Path) -> None:
    path.write_text(SETS + ENTRY)
    registry = read_registry(path)
    entry = registry.entry("small")
    assert (entry.file, entry.bytes, entry.roles) == ("small.safetensors", 3, ("lip_reader", "judge"))
    assert entry.shipped
    assert entry.url is None
    assert registry.name_for("lip_reader") == "small"


def test_unknown_names_roles_and_sets_list_the_known_ones(path: Path) -> None:
    path.write_text(SETS + ENTRY)
    registry = read_registry(path)
    with pytest.raises(WeightsError, match="'large': known are small"):
        registry.entry("large")
    with pytest.raises(WeightsError, match="has no 'talking_face', only lip_reader"):
        registry.name_for("talking_face")
    with pytest.raises(WeightsError, match="'paper': known are default"):
        registry.name_for("lip_reader", "paper")


def test_an_unknown_field_names_the_nearest_one(path: Path) -> None:
    path.write_text("[sets]\n" + ENTRY + 'license = "x"\n')
    with pytest.raises(
        SettingsError, match=r"weights\.small\.license': did you mean 'weights\.small\.licence'"
    ):
        read_registry(path)


def test_a_set_may_only_use_weights_in_a_role_that_they_can_play(path: Path) -> None:
    path.write_text('[sets.default]\ntalking_face = "small"\n' + ENTRY)
    with pytest.raises(WeightsError, match="uses 'small' as talking_face"):
        read_registry(path)


def test_a_set_may_only_use_known_weights(path: Path) -> None:
    path.write_text('[sets.default]\nlip_reader = "large"\n' + ENTRY)
    with pytest.raises(WeightsError, match="no weights are called 'large'"):
        read_registry(path)


def test_a_missing_registry_is_told_of(path: Path) -> None:
    with pytest.raises(WeightsError, match="install lipsync_cli again"):
        read_registry(path)
