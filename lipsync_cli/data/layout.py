"""The cache that `lipsync prepare` makes and training reads.

CACHE/cache.json                    settings of the preparation: a cache is made with one set only
CACHE/clips/SPEAKER/NAME.safetensors  one clip at 25 fps, N frames, memory-mapped when read
CACHE/shards/00000.clips            many of them in one file (`data.shards`)
CACHE/log.jsonl                     one line for each clip: what became of it
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from lipsync_cli.data.clip_bytes import ClipBytes, mapped
from lipsync_cli.data.shards import PackedClip, Shard, open_shards
from lipsync_cli.errors import DataError, SettingsError
from lipsync_cli.settings import from_mapping, to_mapping
from lipsync_cli.whole_file import remove_unfinished, whole_file

FRAMES_PER_SECOND = 25
STEPS_PER_WINDOW = 10
"""Steps of the speech embedding that a generator hears around a frame."""
_SUFFIX = ".safetensors"
_FACTS = "facts"  # in the metadata of a clip's file, as JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """What every clip of a cache has in common.

    The defaults are what caches were made with whose cache.json does not say: they never change.
    """

    image_size: int = 96
    """Pixels of a crop's side."""
    sample_rate: int = 16000
    """Hz of the sound that the mel and the speech embedding are made from."""
    offsets: Literal["off", "measure", "correct"] = "off"
    """AV offset of each clip: measured, and corrected in the sound where it is certain, or left alone."""
    frames_per_second: int = 25
    """Of the crops."""
    mel_hop: int = 200
    """Samples from one column of the mel to the next."""
    mel_window: int = 800
    """Samples that a column hears."""
    mel_bins: int = 80
    mel_lowest: float = 55.0
    """Hz."""
    mel_highest: float = 7600.0
    """Hz."""
    mel_pre_emphasis: float = 0.97
    embedding_hop: int = 160
    """Samples from one row of the speech embedding's log mel to the next."""
    embedding_window: int = 512
    """Samples of its Fourier transform."""
    embedding_bins: int = 32
    crop_top_margin: float = 0.12
    """The crop begins this far below the hair line, in face heights."""
    crop_chin_margin: float = 0.08
    """The crop ends this far below the chin, in face heights."""
    crop_smoothing: int = 7
    """Frames over which the crop's box is averaged."""
    crop_centre: Literal["edges", "features"] = "edges"
    """What lies around the middle of the crop's width: both edges of the face, or eyes and nose."""
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
    """One clip of a cache, read from disk as it is asked for.

    Args:
        path: its own file, or the shard that it lies in.
        shard: the opened shard, and the place in it.
    """

    def __init__(self, path: Path, shard: tuple[Shard, PackedClip] | None = None) -> None:
        self.path = path
        self._shard = shard
        self.speaker = path.parent.name if shard is None else shard[1].speaker
        self.name = path.stem if shard is None else shard[1].name

    @property
    def is_packed(self) -> bool:
        """Whether it lies in a shard."""
        return self._shard is not None

    @cached_property
    def n_frames(self) -> int:
        """N. Raises DataError when the file is damaged."""
        return len(self.openings) if self._shard is None else self._shard[1].n_frames

    @cached_property
    def openings(self) -> NDArray[np.float32]:
        """[N]"""
        return self.read("openings")

    @property
    def facts(self) -> ClipFacts | None:
        """What the preparation noted of it; None in a cache of an older version. Raises as `read`."""
        with self._bytes() as clip:
            noted = clip.metadata.get(_FACTS)
            return None if noted is None else from_mapping(ClipFacts, json.loads(noted), _FACTS)

    def read(self, name: str) -> NDArray[np.float32]:
        """A whole array of `ClipArrays`. Raises DataError when the file is damaged."""
        with self._bytes() as clip:
            array = clip.array(name)
        return np.array(array)

    def crops(self, indices: list[int]) -> NDArray[np.uint8]:
        """Crops of some frames, uint8 [len(indices), S, S, 3]. Raises as `read`."""
        with self._bytes() as clip:
            rows = clip.array("crops")
        return np.stack([rows[index] for index in indices])

    @contextmanager
    def _bytes(self) -> Iterator[ClipBytes]:
        """Its bytes, mapped. Raises DataError, also for what the block finds out about them."""
        try:
            if self._shard is not None:
                yield self._shard[0].clip(self._shard[1])
            else:
                yield ClipBytes(mapped(self.path))
        except FileNotFoundError as error:
            raise DataError(
                f"{self.path} is gone: if it was packed meanwhile, start again (a training: with --resume)"
            ) from error
        except (OSError, ValueError, SettingsError) as error:
            if self._shard is None:
                raise DataError(
                    f"{self.path}: damaged clip ({error}): delete it and prepare again"
                ) from error
            raise DataError(
                f"{self.path}: damaged clip {self.speaker}/{self.name} ({error}): delete this file and "
                "prepare all of its clips again"
            ) from error


def clip_path(cache: Path, speaker: str, name: str) -> Path:
    """Where a clip lies."""
    return cache / "clips" / speaker / f"{name}{_SUFFIX}"


def write_clip(path: Path, arrays: ClipArrays, facts: ClipFacts | None = None) -> None:
    """Write under a temporary name, then rename: a clip is there whole or not at all. Raises DataError."""
    tensors = {name: np.ascontiguousarray(getattr(arrays, name)) for name in ClipArrays.__dataclass_fields__}
    metadata = None if facts is None else {_FACTS: json.dumps(to_mapping(facts))}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_bytes(save(tensors, metadata))
    except OSError as error:
        raise DataError(f"{path}: cannot write the clip: {error.strerror}") from error


def remove_parts(cache: Path) -> None:
    """Remove what writers left behind that were stopped in the middle of a clip."""
    remove_unfinished(cache / "clips")


def open_cache(cache: Path) -> tuple[CacheSettings, list[Clip]]:
    """Settings and clips of a cache, sorted by speaker and name.

    Raises DataError when there is no cache or no clip in it.
    """
    settings = read_cache_settings(cache)
    if settings is None:
        raise DataError(f"{cache} is not a cache: make one with 'lipsync prepare FOLDER -o {cache}'")
    packed = {
        (place.speaker, place.name): Clip(shard.path, (shard, place))
        for shard in open_shards(cache)
        for place in shard.clips
    }
    loose = {key: Clip(clip_path(cache, *key)) for key in loose_clips(cache)}
    clips = loose | packed  # one that is both was packed by a run that was killed before it could tidy up
    if not clips:
        raise DataError(f"{cache} has no clips: see {cache / 'log.jsonl'} for the reasons")
    return settings, [clips[key] for key in sorted(clips, key=_as_files)]


def loose_clips(cache: Path) -> list[tuple[str, str]]:
    """Speaker and name of each clip that has a file of its own, sorted."""
    paths = (cache / "clips").glob(f"*/*{_SUFFIX}")
    return sorted(((path.parent.name, path.stem) for path in paths), key=_as_files)


def _as_files(clip: tuple[str, str]) -> tuple[str, str]:
    """In the order that files have, also where there are none any more: a training goes by it."""
    return clip[0], clip[1] + _SUFFIX


def read_cache_settings(cache: Path) -> CacheSettings | None:
    """What the cache was made with; None when there is no cache yet. DataError when it cannot be read."""
    file = cache / "cache.json"
    try:
        if not file.is_file():
            return None
        return from_mapping(CacheSettings, json.loads(file.read_text(encoding="utf-8")), str(file))
    except PermissionError as error:
        raise DataError(f"{file}: not permitted to read this cache; change its permissions") from error
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}): prepare into a new folder") from error
    except SettingsError as error:
        raise DataError(
            f"{error}; if it is of a newer lipsync, use that, or prepare into a new folder"
        ) from error


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
        with whole_file(cache / "cache.json") as part:
            part.write_text(json.dumps(to_mapping(settings), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{cache}: cannot make the cache: {error.strerror}") from error


def _difference(existing: CacheSettings, wanted: CacheSettings) -> str:
    pairs = (
        (field.name, getattr(existing, field.name), getattr(wanted, field.name)) for field in fields(wanted)
    )
    return ", ".join(f"{name} {old}, not {new}" for name, old, new in pairs if old != new)
