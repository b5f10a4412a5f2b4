from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from lipsync_cli.errors import SettingsError
from lipsync_cli.settings import from_mapping, load_toml, override, to_mapping


@dataclass(frozen=True, slots=True)
class Optimizer:
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    steps: int = 10

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SettingsError(f"steps must be at least 1, not {self.steps}")


@dataclass(frozen=True, slots=True)
class Training:
    name: str
    optimizer: Optimizer = Optimizer()
    widths: tuple[int, ...] = (8, 16)
    resume: Path | None = None
    stage: Literal["gs", "gl"] = "gl"
    flip: bool = True
    clip: float | None = None
    sources: dict[str, int] = field(default_factory=dict)


def read(**values: object) -> Training:
    return from_mapping(Training, {"name": "x", **values}, "run.toml")


def test_values_become_the_types_of_their_fields() -> None:
    settings = read(
        optimizer={"learning_rate": 1, "betas": [0.5, 1]},
        widths=[1, 2, 3],
        resume="runs/a",
        stage="gs",
        flip=False,
        clip=3,
        sources={"grid": 2},
    )
    assert settings.optimizer == Optimizer(learning_rate=1.0, betas=(0.5, 1.0))
    assert isinstance(settings.optimizer.learning_rate, float)
    assert (settings.widths, settings.resume, settings.stage) == ((1, 2, 3), Path("runs/a"), "gs")
    assert (settings.flip, settings.clip, settings.sources) == (False, 3.0, {"grid": 2})


def test_what_is_left_out_keeps_its_default() -> None:
    assert read() == Training(name="x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"optimizer": {"learning_rat": 1}},
            "'optimizer.learning_rat': did you mean 'optimizer.learning_rate'?",
        ),
        ({"optimiser": {}}, "did you mean 'optimizer'?"),
        ({"zzz": 1}, "known here: name, optimizer, widths"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(**values)
    assert message in str(error.value)
    assert str(error.value).startswith("run.toml: unknown key")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flip": 1}, "'flip' must be true or false, not 1"),
        ({"name": 3}, "'name' must be text, not 3"),
        ({"optimizer": {"steps": 1.5}}, "'optimizer.steps' must be a whole number, not 1.5"),
        ({"optimizer": {"steps": True}}, "'optimizer.steps' must be a whole number, not True"),
        ({"optimizer": {"learning_rate": "fast"}}, "'optimizer.learning_rate' must be a number, not 'fast'"),
        ({"optimizer": {"learning_rate": False}}, "'optimizer.learning_rate' must be a number, not False"),
        ({"optimizer": 3}, "'optimizer' must be a table, not 3"),
        ({"optimizer": {"betas": [1]}}, "'optimizer.betas' must be a list of 2, not [1]"),
        ({"widths": [1, "a"]}, "'widths[1]' must be a whole number, not 'a'"),
        ({"widths": 8}, "'widths' must be a list, not 8"),
        ({"stage": "gx"}, "'stage' must be one of 'gs', 'gl', not 'gx'"),
        ({"clip": "no"}, "'clip' must be a number, not 'no'"),
        ({"sources": {"grid": "a"}}, "'sources.grid' must be a whole number, not 'a'"),
        ({"sources": [1]}, "'sources' must be a table, not [1]"),
    ],
)
def test_a_value_of_another_type_is_told_of_with_its_key(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(**values)
    assert str(error.value) == f"run.toml: {message}"


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^run\.toml: missing key 'name'$"):
        from_mapping(Training, {}, "run.toml")


def test_values_that_the_settings_refuse_name_the_file() -> None:
    with pytest.raises(SettingsError, match=r"^run\.toml: steps must be at least 1, not 0$"):
        read(optimizer={"steps": 0})


def test_the_text_none_stands_for_no_value_since_toml_has_none() -> None:
    assert read(clip="none").clip is None
    assert read(clip=None).clip is None


def test_settings_survive_the_way_through_json() -> None:
    settings = read(optimizer={"betas": [0.5, 0.9]}, resume="a/b", sources={"x": 1})
    assert from_mapping(Training, json.loads(json.dumps(to_mapping(settings))), "checkpoint") == settings


def test_overrides_reach_into_tables_and_leave_the_original_alone() -> None:
    original: dict[str, object] = {"name": "x", "optimizer": {"steps": 1}}
    changed = override(
        original, ["optimizer.steps=5", "optimizer.betas=[0.1, 0.2]", "stage=gs", "sources.a = 2"]
    )
    assert original == {"name": "x", "optimizer": {"steps": 1}}
    settings = from_mapping(Training, changed, "--set")
    assert settings.optimizer == Optimizer(steps=5, betas=(0.1, 0.2))
    assert (settings.stage, settings.sources) == ("gs", {"a": 2})


@pytest.mark.parametrize("assignment", ["steps", "=3", "a..b=3", "name.x=1"])
def test_an_override_that_sets_nothing_is_an_error(assignment: str) -> None:
    with pytest.raises(SettingsError, match=assignment):
        override({"name": "x"}, [assignment])


def test_a_file_is_read_and_overridden(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('name = "é"\n[optimizer]\nsteps = 3\n', encoding="utf-8")
    assert load_toml(path, Training, ["optimizer.steps=4"]) == Training("é", Optimizer(steps=4))


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"run\.toml: not TOML"):
        load_toml(path, Training)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot read the settings"):
        load_toml(tmp_path / "absent.toml", Training)
