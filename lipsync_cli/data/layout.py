"""The cache that `lipsync prepare` makes and training reads.

CACHE/cache.json                    settings of the preparation: a cache is made with one set only
CACHE/clips/SPEAKER/NAME.safetensors  one clip at 25 fps, N frames, memory-mapped when read
CACHE/log.jsonl                     one line for each clip: what became of it
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lipsync_cli.errors import DataError, SettingsError
from lipsync_cli.settings import from_mapping, to_mapping

FRAMES_PER_SECOND = 25
STEPS_PER_WINDOW = 10
"""Steps of the speech embedding that a generator hears around a frame."""
_PART = ".part"
_FACTS = "facts"  # in the metadata of a clip's file, as JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """What every clip of a cache has in common."""

    image_size: int = 96
    """Pixels of a crop's side."""
    sample_rate: int = 16000
    """Hz of the sound that the mel and the speech embedding are made from."""
    offsets: Literal["off", "measure", "correct"] = "off"
    """AV offset of each clip: measured, and corrected in the sound where it is certain, or left alone."""
    version: int = 1
    """Layout of the cache."""

    def __post_init__(self) -> None:
        if not 32 <= self.image_size <= 1024 or self.image_size % 2:
            raise SettingsError(f"image_size must be even, from 32 to 1024, not {self.image_size}")


@dataclass(frozen=True)
class ClipArrays:
    """What is kept of one clip of N frames at 25 fps."""

    crops: NDArray[np.uint8]
    """[N, S, S, 3] RGB."""
    landmarks: NDArray[np.float32]
    """[N, L, 2] in crop pixels (mesh468)."""
    openings: NDArray[np.float32]
    """[N] distance of the inner lips over the face's height."""
    yaws: NDArray[np.float32]
    """[N] degrees."""
    mel: NDArray[np.float32]
    """[80, T], 80 columns a second, column 0 at frame 0's time stamp."""
    log_mel: NDArray[np.float32]
    """[T, 32] of the speech embedding's front end, 100 rows a second, row 0 at the same time."""
    speech: NDArray[np.float16]
    """[N + 9, 384] steps of the speech embedding: frame i hears steps i to i + 9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFacts:
    """What is worth knowing of a prepared clip besides its arrays."""

    rate: float
    """Frames a second of the video."""
    face_width: float
    """Median pixels of the face's box in the video."""
    roll: float | None = None
    """Median degrees by which the head is tilted in the video, clockwise. None: by an older version."""
    offset: int | None = None
    """Frames, before any correction: picture at t matches sound at t + offset / 25 s. None: not measured."""
    confidence: float | None = None
    """Of the offset: score at the best offset above the median of all."""
    corrected: bool = False
    """The sound was moved by the offset."""


class Clip:
    """One clip of a cache, read from disk as it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.speaker = path.parent.name
        self.name = path.stem

    @cached_property
    def n_frames(self) -> int:
        """N. Raises DataError when the file is damaged."""
        return len(self.openings)

    @cached_property
    def openings(self) -> NDArray[np.float32]:
        """[N]"""
        return self.read("openings")

    @property
    def facts(self) -> ClipFacts | None:
        """What the preparation noted of it; None in a cache of an older version. Raises as `read`."""
        try:
            with safe_open(self.path, framework="np") as file:
                noted = (file.metadata() or {}).get(_FACTS)
            return None if noted is None else from_mapping(ClipFacts, json.loads(noted), str(self.path))
        except (OSError, SafetensorError, json.JSONDecodeError, SettingsError) as error:
            raise self._damaged(error) from error

    def read(self, name: str) -> NDArray[np.float32]:
        """A whole array of `ClipArrays`. Raises DataError when the file is damaged."""
        try:
            with safe_open(self.path, framework="np") as file:
                array: NDArray[np.float32] = file.get_tensor(name)
                return array
        except (OSError, SafetensorError) as error:
            raise self._damaged(error) from error

    def crops(self, indices: list[int]) -> NDArray[np.uint8]:
        """Crops of some frames, uint8 [len(indices), S, S, 3]. Raises as `read`."""
        try:
            with safe_open(self.path, framework="np") as file:
                rows = file.get_slice("crops")
                return np.stack([rows[index] for index in indices])
        except (OSError, SafetensorError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"{self.path}: damaged clip ({error}): delete it and prepare again")


def clip_path(cache: Path, speaker: str, name: str) -> Path:
    """Where a clip lies."""
    return cache / "clips" / speaker / f"{name}.safetensors"


def write_clip(path: Path, arrays: ClipArrays, facts: ClipFacts | None = None) -> None:
    """Write under a temporary name, then rename: a clip is there whole or not at all. Raises DataError."""
    tensors = {name: np.ascontiguousarray(getattr(arrays, name)) for name in ClipArrays.__dataclass_fields__}
    metadata = None if facts is None else {_FACTS: json.dumps(to_mapping(facts))}
    part = path.with_name(f".{path.name}{_PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(save(tensors, metadata))
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write the clip: {error.strerror}") from error


def remove_parts(cache: Path) -> None:
    """Remove what writers left behind that were stopped in the middle of a clip."""
    for part in (cache / "clips").glob(f"*/.*{_PART}"):
        part.unlink(missing_ok=True)


def open_cache(cache: Path) -> tuple[CacheSettings, list[Clip]]:
    """Settings and clips of a cache, sorted by speaker and name.

    Raises DataError when there is no cache or no clip in it.
    """
    settings = read_cache_settings(cache)
    if settings is None:
        raise DataError(f"{cache} is not a cache: make one with 'lipsync prepare FOLDER -o {cache}'")
    clips = [Clip(path) for path in sorted((cache / "clips").glob("*/*.safetensors"))]
    if not clips:
        raise DataError(f"{cache} has no clips: see {cache / 'log.jsonl'} for the reasons")
    return settings, clips


def read_cache_settings(cache: Path) -> CacheSettings | None:
    """What the cache was made with; None when there is no cache yet."""
    file = cache / "cache.json"
    if not file.is_file():
        return None
    try:
        return from_mapping(CacheSettings, json.loads(file.read_text(encoding="utf-8")), str(file))
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}): prepare into a new folder") from error


def start_cache(cache: Path, settings: CacheSettings) -> None:
    """Make the cache's folder, or check that an existing one was made with the same settings."""
    existing = read_cache_settings(cache)
    if existing is not None:
        if existing != settings:
            raise DataError(
                f"{cache} was made with {_difference(existing, settings)}: prepare into a new folder"
            )
        return
    try:
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / ".cache.json.part"
        part.write_text(json.dumps(to_mapping(settings), indent=1) + "\n", encoding="utf-8")
        part.replace(cache / "cache.json")
    except OSError as error:
        raise DataError(f"{cache}: cannot make the cache: {error.strerror}") from error


def _difference(existing: CacheSettings, wanted: CacheSettings) -> str:
    pairs = (
        (field.name, getattr(existing, field.name), getattr(wanted, field.name)) for field in fields(wanted)
    )
    return ", ".join(f"{name} {old}, not {new}" for name, old, new in pairs if old != new)
