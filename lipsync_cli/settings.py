"""Settings: TOML and JSON objects <-> frozen dataclasses, with errors that name the key.

Fields may be bool, int, float, str, Path, Literal, `X | None`, tuples, dict[str, X] and dataclasses of these.
An int is taken where a float is asked for; the text "none" where None may stand (TOML has no null).
"""

from __future__ import annotations

import copy
import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lipsync_cli.errors import SettingsError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def from_mapping(cls: type[Settings], mapping: Mapping[str, object], where: str) -> Settings:
    """Build a (nested) settings dataclass; `where` (a file, a command) opens every message.

    Raises SettingsError for an unknown key (naming the nearest one), a missing one, or a wrong type, and
    passes on those that the dataclass raises of its values.
    """
    return _build(cls, mapping, where, "")


def load_toml(path: Path, cls: type[Settings], overrides: Sequence[str] = ()) -> Settings:
    """Settings of a TOML file, changed by overrides ("key.sub=value"); errors as from_mapping."""
    return from_mapping(cls, override(read_toml(path), overrides), str(path))


def read_toml(path: Path) -> dict[str, object]:
    """A TOML file as plain values. Raises SettingsError when it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot read the settings: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error


def override(mapping: Mapping[str, object], assignments: Iterable[str]) -> dict[str, object]:
    """A copy with "key.sub=value" applied in order; a value that is not TOML is taken as text.

    Raises SettingsError for one without `=`, or whose key goes through something that is not a table.
    """
    result = copy.deepcopy(dict(mapping))
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        names = [name.strip() for name in key.split(".")]
        if not equals or not all(names):
            raise SettingsError(f"'{assignment}' does not set anything: write key=value or table.key=value")
        table = result
        for name in names[:-1]:
            inner = table.setdefault(name, {})
            if not isinstance(inner, dict):
                raise SettingsError(f"'{assignment}': '{name}' is a value, not a table")
            table = inner
        table[names[-1]] = _parse(text.strip())
    return result


def to_mapping(instance: DataclassInstance) -> dict[str, object]:
    """Plain JSON values: nested dataclasses as dicts, tuples as lists, paths as text."""
    return {field.name: _plain(getattr(instance, field.name)) for field in fields(instance) if field.init}


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _parse(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _build(cls: type[Settings], mapping: Mapping[str, object], where: str, prefix: str) -> Settings:
    known = {field.name: field for field in fields(cls) if field.init}
    for key in mapping:
        if key not in known:
            raise SettingsError(f"{where}: unknown key '{prefix}{key}': {_nearest(key, known, prefix)}")
    missing = [name for name, field in known.items() if name not in mapping and _is_required(field)]
    if missing:
        raise SettingsError(f"{where}: missing key '{prefix}{missing[0]}'")
    hints = get_type_hints(cls)
    values = {key: _convert(hints[key], value, where, prefix + key) for key, value in mapping.items()}
    try:
        return cls(**values)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _nearest(key: str, known: Iterable[str], prefix: str) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    if close:
        return f"did you mean '{prefix}{close[0]}'?"
    return f"known here: {', '.join(known) or 'none'}"


def _convert(hint: Any, value: object, where: str, key: str) -> object:
    """The value as the type of its field asks, or SettingsError."""
    origin = get_origin(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise _wrong(where, key, "a table", value)
        return _build(hint, value, where, f"{key}.")
    if origin in (Union, UnionType):
        return _convert_union(get_args(hint), value, where, key)
    if origin is tuple:
        return _convert_tuple(get_args(hint), value, where, key)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(where, key, "a table", value)
        inner_hint = get_args(hint)[1]
        return {
            str(name): _convert(inner_hint, inner, where, f"{key}.{name}") for name, inner in value.items()
        }
    if origin is Literal:
        return _convert_literal(get_args(hint), value, where, key)
    return _convert_plain(hint, value, where, key)


def _convert_plain(hint: Any, value: object, where: str, key: str) -> object:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and is_number:
        return float(value)  # type: ignore[arg-type]
    if hint is int and is_number and isinstance(value, int):
        return value
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "text", Path: "a path"}
    if hint not in names:
        raise TypeError(f"settings cannot hold {hint!r} ({key})")
    raise _wrong(where, key, names[hint], value)


def _convert_union(options: tuple[Any, ...], value: object, where: str, key: str) -> object:
    if value is None and NoneType in options:
        return None
    first: SettingsError | None = None
    for option in options:
        if option is NoneType:
            continue
        try:
            return _convert(option, value, where, key)
        except SettingsError as error:
            first = first or error
    if value == "none" and NoneType in options:
        return None
    raise first or _wrong(where, key, "none", value)


def _convert_literal(options: tuple[Any, ...], value: object, where: str, key: str) -> object:
    for option in options:
        if value == option and type(value) is type(option):
            return option
    raise _wrong(where, key, "one of " + ", ".join(repr(option) for option in options), value)


def _convert_tuple(parts: tuple[Any, ...], value: object, where: str, key: str) -> object:
    if not isinstance(value, (list, tuple)):
        raise _wrong(where, key, "a list", value)
    hints = [parts[0]] * len(value) if parts[-1:] == (Ellipsis,) else list(parts)
    if len(hints) != len(value):
        raise _wrong(where, key, f"a list of {len(hints)}", value)
    pairs = zip(hints, value, strict=True)
    return tuple(_convert(hint, inner, where, f"{key}[{i}]") for i, (hint, inner) in enumerate(pairs))


def _wrong(where: str, key: str, wanted: str, value: object) -> SettingsError:
    return SettingsError(f"{where}: '{key}' must be {wanted}, not {value!r}")
