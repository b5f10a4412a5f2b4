"""Which stages there are, in which recipes, and how their settings are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import lipsync_cli
from lipsync_cli.errors import SettingsError
from lipsync_cli.settings import from_mapping, override, read_toml, to_mapping
from lipsync_cli.training.avsyncnet import AVSyncNetTraining
from lipsync_cli.training.lip_predictor import LipPredictorTraining
from lipsync_cli.training.lip_reader import LipReaderTraining
from lipsync_cli.training.settings import KeptSettings
from lipsync_cli.training.silent_lip import SilentLipTraining
from lipsync_cli.training.syncnet import SyncNetTraining
from lipsync_cli.training.talking_face import TalkingFaceTraining
from lipsync_cli.training.warping import WarpingTraining

STAGES = ("syncnet", "avsyncnet", "gs", "gl", "lip_reader", "lip_predictor")
CONFIGS = ("default", "small", "paper")
"""Sets of settings files that come with the program."""
ABLATIONS = tuple(f"ablations/{name}" for name in (*"abcdefgh", "fr1", "fr2", "fr3"))
"""Setups of table 2, for stage gl."""

Settings = (
    SyncNetTraining
    | AVSyncNetTraining
    | LipReaderTraining
    | LipPredictorTraining
    | WarpingTraining
    | SilentLipTraining
    | TalkingFaceTraining
)
KINDS: Mapping[tuple[str, str], type[Any]] = {
    ("syncnet", "paper"): SyncNetTraining,
    ("avsyncnet", "default"): AVSyncNetTraining,
    ("avsyncnet", "paper"): AVSyncNetTraining,
    ("lip_reader", "default"): LipReaderTraining,
    ("lip_predictor", "default"): LipPredictorTraining,
    ("gs", "default"): WarpingTraining,  # one network in both roles
    ("gl", "default"): WarpingTraining,
    ("gs", "paper"): SilentLipTraining,
    ("gl", "paper"): TalkingFaceTraining,
}
"""(stage, recipe) -> settings."""

_FILES = {
    "syncnet": ("syncnet.toml",),
    "avsyncnet": ("avsyncnet.toml",),
    "lip_reader": ("lip_reader.toml",),
    "lip_predictor": ("lip_predictor.toml",),
    "gs": ("silent_lip.toml", "talking_face.toml"),
    "gl": ("talking_face.toml",),
}
"""Stage -> what its settings may be called; the first that a set has counts."""


@dataclass(frozen=True, kw_only=True)
class AskedSettings:
    """What the user says of the settings."""

    stage: str
    """One of `STAGES`."""
    config: str | None = None
    """A settings file, or one of `CONFIGS`; None: the run's own when it goes on, else `default`."""
    overrides: Sequence[str] = ()
    """key=value"""
    flags: Mapping[str, object] = field(default_factory=dict)
    """Key -> value, of flags that stand for a setting ("loop.steps": 100); None: not given."""


def resolve(asked: AskedSettings, folder: Path, earlier: KeptSettings | None) -> tuple[KeptSettings, Any]:
    """The resolved settings, as they are kept and as the stage takes them (one of `Settings`).

    earlier: those that the run in `folder` was started with, if it was. Raises SettingsError for an unknown
    stage, recipe, key (naming the nearest) or value, and for a flag that the stage has no use for.
    """
    where, mapping = _mapping(asked, folder, earlier)
    recipe = str(mapping.pop("recipe", "default"))
    kind = KINDS.get((asked.stage, recipe))
    if kind is None:
        known = " or ".join(f"'{name}'" for stage, name in KINDS if stage == asked.stage)
        raise SettingsError(f"{where}: stage {asked.stage} has no recipe '{recipe}': use {known}")
    if earlier is not None and (earlier.stage, earlier.recipe) != (asked.stage, recipe):
        raise SettingsError(
            f"{folder}: the run is of stage {earlier.stage} with recipe '{earlier.recipe}', not of stage "
            f"{asked.stage} with recipe '{recipe}': name the same, or another folder"
        )
    for key, value in asked.flags.items():
        if value is not None:
            _set(mapping, key, value, kind, f"stage {asked.stage} with recipe '{recipe}'")
    settings = from_mapping(kind, mapping, where)
    return KeptSettings(asked.stage, recipe, to_mapping(settings), {}), settings


def _mapping(
    asked: AskedSettings, folder: Path, earlier: KeptSettings | None
) -> tuple[str, dict[str, object]]:
    """What the settings are called in messages, and the settings with their overrides, as plain values."""
    if asked.stage not in STAGES:
        raise SettingsError(f"unknown stage '{asked.stage}': use one of {', '.join(STAGES)}")
    if earlier is not None and asked.config is None:
        mapping = {"recipe": earlier.recipe, **earlier.settings}
        return str(folder), override(mapping, asked.overrides)
    path = settings_file(asked.stage, asked.config or "default")
    return str(path), _on_its_base(asked.stage, override(read_toml(path), asked.overrides), str(path))


def _on_its_base(stage: str, mapping: dict[str, object], where: str) -> dict[str, object]:
    """The settings laid over those of the set or file that their key `base` names, if they have one.

    Raises SettingsError when bases go round in a circle.
    """
    seen: list[str] = []
    while (base := mapping.pop("base", None)) is not None:
        path = settings_file(stage, str(base))
        if str(path) in seen:
            raise SettingsError(f"{where}: base = '{base}' comes back to itself: take it out")
        seen.append(str(path))
        mapping = _laid_over(read_toml(path), mapping)
    return mapping


def _laid_over(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Tables are joined, everything else is replaced; the base of what is below stays to be followed."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        result[key] = _laid_over(under, value) if both else value  # type: ignore[arg-type]
    return result


def settings_file(stage: str, config: str) -> Path:
    """The file of one of `CONFIGS` for a stage, of one of `ABLATIONS`, or the file that `config` names.

    Raises SettingsError when the set has none for the stage.
    """
    folder = Path(lipsync_cli.__file__).parent / "configs"
    if config in ABLATIONS:
        if stage != "gl":
            raise SettingsError(f"--config {config}: table 2 is about stage gl, not {stage}")
        return folder / f"{config}.toml"
    if config not in CONFIGS:
        return Path(config)
    files = {
        name: folder / name / file
        for name in CONFIGS
        for file in reversed(_FILES[stage])
        if (folder / name / file).is_file()
    }
    if config not in files:
        others = " or ".join(f"--config {name}" for name in files)
        raise SettingsError(f"--config {config}: this set has no settings for stage {stage}: use {others}")
    return files[config]


def _lasting(network: str) -> str:
    """A file's path from the root, so that the run goes on from any folder; a registry's name as it is."""
    path = Path(network).expanduser()
    return str(path.absolute()) if path.suffix or len(path.parts) > 1 else network


def _set(mapping: dict[str, object], key: str, value: object, kind: type[Any], stage: str) -> None:
    """Set a key of the mapping or of a table in it, in place."""
    table, _, name = key.rpartition(".")
    if (table or name) not in {one.name for one in fields(kind)}:
        raise SettingsError(f"--{name.replace('_', '-')} has no meaning here: {stage} uses no such network")
    if not table:
        mapping[name] = _lasting(str(value))
        return
    inner = mapping.get(table, {})
    if not isinstance(inner, Mapping):
        raise SettingsError(f"'{table}' must be a table, not {inner!r}")
    mapping[table] = {**inner, name: value}
