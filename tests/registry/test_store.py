from __future__ import annotations

import os
from pathlib import Path

import pytest

from lipsync_cli.errors import WeightsError
from lipsync_cli.registry import store

ORDER = ("environment", "cache/lipsync", "shipped")


def test_names_are_looked_for_in_the_environment_then_the_cache_then_what_is_shipped(
    folders: dict[str, Path],
) -> None:
    for place in ORDER:
        (folders[place] / "small.bin").write_bytes(b"abc")
    for place in ORDER:
        assert store.find_weights("small") == folders[place] / "small.bin"
        (folders[place] / "small.bin").unlink()
    with pytest.raises(
        WeightsError, match=r"'small': small\.bin is missing from .*: install lipsync_cli again"
    ):
        store.find_weights("small")


def test_a_role_of_the_default_set_is_found(folders: dict[str, Path]) -> None:
    (folders["shipped"] / "small.bin").write_bytes(b"abc")
    assert store.find_for_role("lip_reader") == folders["shipped"] / "small.bin"


@pytest.mark.parametrize("place", ORDER)
def test_another_file_under_a_known_name_is_refused_not_skipped(place: str, folders: dict[str, Path]) -> None:
    (folders["shipped"] / "small.bin").write_bytes(b"abc")
    (folders[place] / "small.bin").write_bytes(b"abd")
    with pytest.raises(WeightsError) as error:
        store.find_weights("small")
    message = str(error.value)
    assert message.startswith(f"{folders[place] / 'small.bin'}: ")
    assert "expected sha256 ba7816bf" in message
    assert "found a52d159f" in message
    assert message.endswith(
        "install lipsync_cli again" if place == "shipped" else "replace or remove this file"
    )


def test_a_file_that_is_replaced_during_the_run_is_checked_again(folders: dict[str, Path]) -> None:
    path = folders["shipped"] / "small.bin"
    path.write_bytes(b"abc")
    assert store.find_weights("small") == path
    path.write_bytes(b"abd")
    os.utime(path, ns=(1, 1))
    with pytest.raises(WeightsError):
        store.find_weights("small")


def test_a_path_is_taken_as_it_is(folders: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"anything")
    assert store.find_weights(path) == path
    assert store.find_weights(str(path)) == path


def test_a_path_that_does_not_exist_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent\.safetensors: no such weights file"):
        store.find_weights(tmp_path / "absent.safetensors")


def test_an_unknown_name_lists_the_known_ones(folders: dict[str, Path]) -> None:
    with pytest.raises(WeightsError, match="no weights are called 'smal': known are own, small"):
        store.find_weights("smal")


def test_weights_that_are_not_shipped_say_where_to_get_and_put_them(folders: dict[str, Path]) -> None:
    with pytest.raises(WeightsError) as error:
        store.find_weights("own")
    assert "run `lipsync weights pull own`" in str(error.value)


def test_an_environment_variable_that_names_no_folder_is_told_of(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(folders["shipped"] / "registry.toml"))
    with pytest.raises(WeightsError, match=r"LIPSYNC_WEIGHTS is set to .* which is not a folder"):
        store.find_weights("small")


def test_the_cache_is_in_the_home_folder_unless_xdg_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for unset in ("", "relative/folder"):  # the XDG specification has relative paths ignored
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert store.cache_folder() == Path.home() / ".cache" / "lipsync"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert store.cache_folder() == Path("/elsewhere/lipsync")


def test_everything_is_verified_and_only_what_is_wrong_has_a_problem(folders: dict[str, Path]) -> None:
    (folders["shipped"] / "small.bin").write_bytes(b"abc")
    small, own = store.verify_all()
    assert (small.name, small.path, small.problem) == ("small", folders["shipped"] / "small.bin", None)
    assert (own.name, own.path, own.problem) == ("own", None, None)
    (folders["environment"] / "own.bin").write_bytes(b"no")
    (folders["shipped"] / "small.bin").unlink()
    small, own = store.verify_all()
    assert small.problem is not None
    assert "is missing" in small.problem
    assert own.problem is not None
    assert "expected sha256 00" in own.problem


def test_the_weights_of_this_checkout_are_the_registered_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(store.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = store.verify_all()
    assert found
    assert [check.problem for check in found if check.problem is not None] == []
