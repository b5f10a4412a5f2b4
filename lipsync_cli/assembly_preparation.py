"""Names and settings -> preparations of corpora ready to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from lipsync_cli.data.check import CacheFigures, ClipFigures, gather, look_at_clips
from lipsync_cli.data.check_plots import draw_plots
from lipsync_cli.data.check_report import as_json
from lipsync_cli.data.conventions import todays_settings
from lipsync_cli.data.corpora.choose import CorpusName, list_corpus
from lipsync_cli.data.cut import Tools
from lipsync_cli.data.layout import FRAMES_PER_SECOND, ClipArrays, loose_clips, open_cache
from lipsync_cli.data.packing import pack
from lipsync_cli.data.prepare import Outcome, prepare
from lipsync_cli.data.verdict import Verdict
from lipsync_cli.data.verdicts import is_useless, judge
from lipsync_cli.errors import WeightsError
from lipsync_cli.evaluation.sync import sync_curve
from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.faces.landmarks import MeshLandmarks
from lipsync_cli.models.avsyncnet import AVSyncNet
from lipsync_cli.models.speech_embedding import SpeechEmbedding
from lipsync_cli.registry.checkpoint import load_into, load_network
from lipsync_cli.registry.store import find_for_role, find_weights
from lipsync_cli.speech.windows import MelWindows, SpeechEmbeddingWindows

_MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PrepareJob:
    """What `lipsync prepare` is asked for."""

    source: Path
    """Folder of the corpus."""
    cache: Path
    corpus: CorpusName = "folder"
    split: str | None = None
    """What the corpus calls so, or the path of a list."""
    image_size: int = 96
    offsets: Literal["off", "measure", "correct"] = "correct"
    sync_network: str | None = None
    """Name or file of an AVSyncNet; none: the registry's."""
    workers: int = 1
    shard_size: int = 512
    """Megabytes of the files into which finished clips are packed; 0: each clip stays a file of its own."""


def prepare_corpus(job: PrepareJob) -> tuple[int, Iterator[Outcome]]:
    """How many clips there are, and what becomes of each (`data.prepare`).

    Raises DataError when the corpus or a list is not there, SettingsError for an image_size that cannot be,
    WeightsError when a network of the preparation is missing.
    """
    settings = todays_settings(image_size=job.image_size, offsets=job.offsets)
    sources = list_corpus(job.corpus, job.source, job.split)
    for role in ("face_detector", "face_landmarks", "speech_embedding"):
        find_for_role(role)
    sync = None if job.offsets == "off" else str(_sync_path(job.sync_network))
    tools = partial(preparation_tools, sync)
    outcomes = prepare(
        sources,
        job.cache,
        tools,
        settings=settings,
        workers=job.workers,
        shard_bytes=_MEGABYTE * job.shard_size or None,
    )
    return len(sources), outcomes


def pack_cache(cache: Path, shard_size: int) -> tuple[int, Iterator[int]]:
    """How many clips have files of their own, and how many are packed, shard by shard (`data.packing`).

    shard_size: megabytes. Raises DataError when there is no cache or no clip in it.
    """
    open_cache(cache)
    return len(loose_clips(cache)), pack(cache, _MEGABYTE * shard_size)


def preparation_tools(sync_network: str | None = None) -> Tools:
    """The networks of the preparation; called by name in each worker process.

    sync_network: the file of the AVSyncNet that measures offsets; None: nobody measures them.
    """
    embedding = SpeechEmbedding().eval()
    load_into(embedding, find_for_role("speech_embedding"))
    return Tools(
        detector=FullRangeDetector(find_for_role("face_detector")),
        finder=MeshLandmarks(find_for_role("face_landmarks")),
        speech_steps=lambda log_mel, n_frames: (
            SpeechEmbeddingWindows(log_mel, embedding.steps).grid(n_frames).numpy()
        ),
        offset=None if sync_network is None else _offset_by(Path(sync_network)),
    )


def _sync_path(name: str | None) -> Path:
    path = find_weights(name) if name else find_for_role("avsyncnet")
    _load_sync(path)
    return path


def _load_sync(path: Path) -> AVSyncNet:
    network = load_network(path)
    if not isinstance(network, AVSyncNet):
        raise WeightsError(f"{path} is no AVSyncNet: offsets are measured by one; name another")
    return network.eval().requires_grad_(False)


def _offset_by(path: Path) -> Callable[[ClipArrays], tuple[int, float]]:
    """(offset in frames, confidence) of a prepared clip, by the AVSyncNet of a file."""
    network = _load_sync(path)

    def measure(clip: ClipArrays) -> tuple[int, float]:
        half = clip.crops.shape[1] // 2
        lips = (
            (index / FRAMES_PER_SECOND, np.ascontiguousarray(crop[half:]))
            for index, crop in enumerate(clip.crops)
        )
        windows = MelWindows(clip.mel)
        duration = clip.mel.shape[1] / windows.RATE
        with torch.inference_mode():
            curve = sync_curve(lips, windows.starting, duration, network)
        return curve.best.frames, curve.best.confidence

    return measure


@dataclass(frozen=True)
class CheckOutcome:
    """What `lipsync data check` tells."""

    found: CacheFigures
    verdicts: Sequence[Verdict]
    values: dict[str, Any]
    """All of it, for JSON."""
    is_useless: bool


def start_check(cache: Path) -> tuple[int, Iterator[ClipFigures]]:
    """How many clips a cache has, and the figures of each as it is read (`data.check`)."""
    return look_at_clips(cache)


def conclude_check(cache: Path, figures: Sequence[ClipFigures], kept_out: Sequence[Path]) -> CheckOutcome:
    """The verdicts on a cache; errors as `data.check.gather`."""
    found = gather(cache, figures, kept_out)
    verdicts = judge(found)
    return CheckOutcome(found, verdicts, as_json(found, verdicts), is_useless(found))


def draw_check(outcome: CheckOutcome) -> dict[str, bytes]:
    """Name of the file -> PNG."""
    return draw_plots(outcome.found)
