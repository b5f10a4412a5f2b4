"""What a run was started with, so that it goes on with the same or says what differs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lipsync_cli.errors import DataError, SettingsError
from lipsync_cli.training.run_folder import make, write_bytes

FILE = "settings.json"
MAY_CHANGE = frozenset(
    f"loop.{name}" for name in ("steps", "save_every", "validate_every", "keep_last", "films", "tensorboard")
)
"""Keys that may differ when a run goes on; the steps may only grow."""
_ABSENT = "(not set)"


@dataclass(frozen=True)
class KeptSettings:
    """settings.json of a run."""

    stage: str
    recipe: str
    settings: Mapping[str, object]
    """Resolved: every key of the stage's settings."""
    notes: Mapping[str, object]
    """What does not bind a run that goes on: data, device, precision, version."""


def keep_settings(folder: Path, kept: KeptSettings) -> None:
    """Write settings.json. Raises DataError when the folder cannot be written."""
    make(folder)
    content = {
        "stage": kept.stage,
        "recipe": kept.recipe,
        "settings": dict(kept.settings),
        "notes": dict(kept.notes),
    }
    write_bytes(folder / FILE, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def kept_settings(folder: Path) -> KeptSettings | None:
    """What the run of a folder was started with; None when there is no settings.json.

    Raises DataError when it is damaged.
    """
    path = folder / FILE
    try:
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        kept = KeptSettings(content["stage"], content["recipe"], content["settings"], content["notes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}): start a new run in another folder") from error
    return kept


def require_same(folder: Path, kept: KeptSettings, wanted: KeptSettings) -> None:
    """Raises SettingsError, naming the key, where a run would go on as another than it was started as."""
    old = {"stage": kept.stage, "recipe": kept.recipe, **dict(_flat(kept.settings))}
    new = {"stage": wanted.stage, "recipe": wanted.recipe, **dict(_flat(wanted.settings))}
    for key in sorted(old.keys() | new.keys()):
        was, will_be = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if was == will_be or key in MAY_CHANGE - {"loop.steps"}:
            continue
        if key == "loop.steps" and int(str(will_be)) > int(str(was)):
            continue
        rule = "steps may grow, not shrink" if key == "loop.steps" else "leave it as it was"
        raise SettingsError(
            f"{folder}: the run was started with {key} = {was}, not {will_be}: {rule}, or start a new run in "
            "another folder"
        )


def _flat(mapping: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
