"""Names and settings -> trainings ready to start: the composition root beside `assembly`."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lipsync_cli
from lipsync_cli.assembly_judging import (
    given_network,
    judges_of,
    look_by_landmarks,
    measured_offset,
    speech_embedding,
    write_film,
)
from lipsync_cli.data.conventions import require_todays
from lipsync_cli.data.corpus import Corpus
from lipsync_cli.data.layout import CacheSettings, Clip, open_cache
from lipsync_cli.device import resolve_device
from lipsync_cli.errors import DataError, SettingsError
from lipsync_cli.models.avsyncnet import AVSyncNet
from lipsync_cli.models.face_generator import UNetFaceGenerator
from lipsync_cli.models.lip_predictor import LipPredictor
from lipsync_cli.models.lip_reader import LipReader
from lipsync_cli.settings import from_mapping, to_mapping
from lipsync_cli.training.avsyncnet import AVSyncNetStage, AVSyncNetTraining, SyncTraining
from lipsync_cli.training.board import require_tensorboard
from lipsync_cli.training.compute import Compute, training_precision
from lipsync_cli.training.generator import GeneratorTraining
from lipsync_cli.training.lip_predictor import LipPredictorStage, LipPredictorTraining
from lipsync_cli.training.lip_reader import LipReaderStage, LipReaderTraining
from lipsync_cli.training.loop import LoopSettings, Progress, Run, Stage
from lipsync_cli.training.plateau import PlateauWatch
from lipsync_cli.training.settings import KeptSettings, keep_settings, kept_settings, require_same
from lipsync_cli.training.silent_lip import SilentLipStage, SilentLipTraining
from lipsync_cli.training.stages import AskedSettings, Settings, resolve
from lipsync_cli.training.syncnet import SyncNetStage, SyncNetTraining
from lipsync_cli.training.talking_face import TalkingFaceStage, TalkingFaceTraining
from lipsync_cli.training.warping import WarpingStage, WarpingTraining
from lipsync_cli.training.warping_start import Teachers

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """What `lipsync train` is asked for."""

    asked: AskedSettings
    data: Path
    """A cache of `lipsync prepare`."""
    folder: Path
    """Where the run is kept."""
    resume: bool = False
    device: str = "auto"
    precision: str = "auto"


@dataclass(frozen=True)
class Training:
    """A run that is ready to start: all that can be known to be wrong has been found."""

    run: Run[Any]
    job: TrainJob
    kept: KeptSettings
    notes: tuple[str, ...]
    """Worth telling before it starts."""

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that tells, of those that torchrun started."""
        return self.run.stage.compute.is_first

    def go(self, report: Callable[[Progress], None], should_stop: Callable[[], bool]) -> int:
        """Write settings.json and train; the steps done. Raises as `Run.go`."""
        compute = self.run.stage.compute
        compute.meet()  # no process looks for an earlier run any more
        if compute.is_first:
            keep_settings(self.job.folder, self.kept)
        return self.run.go(resume=self.job.resume, report=report, should_stop=should_stop)


def plan_training(job: TrainJob) -> Training:
    """Everything that a training needs, checked and built; nothing is written.

    Raises SettingsError, DataError or WeightsError.
    """
    earlier = kept_settings(job.folder)
    if earlier is not None and not job.resume:
        raise DataError(f"{job.folder} holds a run already: add --resume to go on, or name a new folder")
    kept, settings = resolve(job.asked, job.folder, earlier)
    if earlier is not None:
        # built anew, so that settings which are younger than the run stand at their defaults
        before = to_mapping(from_mapping(type(settings), earlier.settings, str(job.folder)))
        require_same(job.folder, replace(earlier, settings=before), kept)
    cache, clips = open_cache(job.data)
    device = resolve_device(job.device)
    if settings.loop.tensorboard:
        require_tensorboard()
    compute = Compute(device, training_precision(job.precision, device))
    corpus = Corpus(clips, settings.corpus)
    _check_cache(job, settings, cache)
    stage = _build(job.asked.stage, settings, corpus, compute)
    facts = {
        "data": str(job.data.resolve()),
        "clips": _fingerprint(clips),
        "device": device.type,
        "precision": str(compute.dtype).removeprefix("torch."),
        "version": lipsync_cli.__version__,
    }
    if earlier is not None and earlier.notes.get("clips") != facts["clips"]:
        _LOG.warning("%s: its clips are not those that the run was started with", job.data)
    loop: LoopSettings = settings.loop
    kept = replace(kept, notes=facts)
    run = Run(stage, loop, job.folder, write_film=write_film if loop.films else None)
    if isinstance(settings, SyncTraining):
        chances = settings.n_clips * settings.n_windows * compute.n_processes
        run.watch = PlateauWatch(settings, corpus, chances=chances, offset=measured_offset(compute))
    return Training(run, job, kept, tuple(_notes(kept, corpus)))


def _check_cache(job: TrainJob, settings: Settings, cache: CacheSettings) -> None:
    """DataError unless mels and crops are as networks here know them, and as large as the generator's faces.

    (Other networks resize crops.)
    """
    require_todays(job.data, cache)
    if isinstance(settings, WarpingTraining | GeneratorTraining):
        size = settings.network.image_size
        if size != cache.image_size:
            raise DataError(
                f"{job.data} has crops of {cache.image_size} pixels, but network.image_size is {size}: "
                f"prepare into a new folder with --image-size {size}, or set the network's"
            )


def _build(stage: str, settings: Settings, corpus: Corpus, compute: Compute) -> Stage[Any]:
    if isinstance(settings, AVSyncNetTraining):
        return AVSyncNetStage(corpus, settings, compute)
    if isinstance(settings, SyncNetTraining):
        return SyncNetStage(corpus, settings, compute)
    if isinstance(settings, LipReaderTraining):
        return LipReaderStage(corpus, settings, compute)
    if isinstance(settings, LipPredictorTraining):
        return LipPredictorStage(corpus, settings, compute, embedding=speech_embedding())
    look = look_by_landmarks()
    if isinstance(settings, WarpingTraining):
        reader = given_network(LipReader, settings.lip_reader, "lip_reader", stage)
        sync = settings.coefficients.sync > 0
        teachers = Teachers(
            reader=reader,
            embedding=speech_embedding(),
            sync_network=given_network(AVSyncNet, settings.avsyncnet, "avsyncnet", stage) if sync else None,
            predictor=_lip_predictor(settings, stage),
        )
        return WarpingStage(corpus, settings, compute, teachers=teachers, look=look)
    if isinstance(settings, SilentLipTraining):
        return SilentLipStage(corpus, settings, compute, judges=judges_of(settings, stage), look=look)
    judges, silent_lip = judges_of(settings, stage, compute.device), None
    if settings.silence_references:
        silent_lip = given_network(UNetFaceGenerator, settings.silent_lip, "silent_lip", stage)
        _check_silent_lip(silent_lip, settings)
    return TalkingFaceStage(corpus, settings, compute, judges=judges, look=look, silent_lip=silent_lip)


def _lip_predictor(settings: WarpingTraining, stage: str) -> LipPredictor | None:
    """What the generator is to begin with; None: what its start has."""
    if settings.lip_predictor is None:
        return None
    return given_network(LipPredictor, settings.lip_predictor, "lip_predictor", stage)


def _check_silent_lip(silent_lip: UNetFaceGenerator, settings: TalkingFaceTraining) -> None:
    if silent_lip.image_size != settings.network.image_size:
        raise SettingsError(
            f"the silent-lip generator draws {silent_lip.image_size} pixels, but network.image_size is "
            f"{settings.network.image_size}: name another with --silent-lip"
        )
    if silent_lip.hears != "mel":
        raise SettingsError(
            f"the silent-lip generator hears '{silent_lip.hears}', but it is to be told silence as a mel: "
            "name another with --silent-lip"
        )


def _fingerprint(clips: Sequence[Clip]) -> str:
    """Changes when clips come, go, or are renamed."""
    names = "\n".join(f"{clip.speaker}/{clip.name}" for clip in clips)
    return f"{len(clips)} clips, {zlib.crc32(names.encode()):08x}"


def _notes(kept: KeptSettings, corpus: Corpus) -> Iterator[str]:
    if kept.stage in ("gs", "gl") and kept.recipe == "default":
        yield "recipe 'default': stages gs and gl are one network, which is silent when it hears silence"
    if not corpus.validation:
        yield "no speaker is kept out for validation: there will be no figures (corpus.validation_speakers)"
