"""Names and settings -> preparations and trainings ready to start: the composition root beside `assembly`."""

from __future__ import annotations

import logging
import tempfile
import wave
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

import lipsync_cli
from lipsync_cli.data.corpora.folder import list_clips
from lipsync_cli.data.corpus import Corpus
from lipsync_cli.data.cut import Tools
from lipsync_cli.data.layout import CacheSettings, Clip, open_cache
from lipsync_cli.data.prepare import Outcome, prepare
from lipsync_cli.device import resolve_device
from lipsync_cli.errors import DataError, SettingsError, WeightsError
from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.faces.landmarks import SCHEMES, MeshLandmarks, lips, opening
from lipsync_cli.interfaces import Box, Frame
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.models.avsyncnet import AVSyncNet
from lipsync_cli.models.face_generator import UNetFaceGenerator
from lipsync_cli.models.lip_reader import LipReader
from lipsync_cli.models.speech_embedding import SpeechEmbedding
from lipsync_cli.models.vgg import VGGFeatures
from lipsync_cli.registry.checkpoint import load_into, load_network
from lipsync_cli.registry.public import load_public
from lipsync_cli.registry.store import cache_folder, find_for_role, find_weights, search_folders
from lipsync_cli.settings import from_mapping, to_mapping
from lipsync_cli.speech.inverse_mel import waveform_of_mel
from lipsync_cli.speech.windows import SpeechEmbeddingWindows
from lipsync_cli.training.avsyncnet import AVSyncNetStage, AVSyncNetTraining
from lipsync_cli.training.board import require_tensorboard
from lipsync_cli.training.compute import Compute, training_precision
from lipsync_cli.training.figures import Look, Mouths
from lipsync_cli.training.film import Film
from lipsync_cli.training.generator import GeneratorTraining, Judges
from lipsync_cli.training.lip_reader import LipReaderStage, LipReaderTraining
from lipsync_cli.training.loop import LoopSettings, Progress, Run, Stage
from lipsync_cli.training.settings import KeptSettings, keep_settings, kept_settings, require_same
from lipsync_cli.training.silent_lip import SilentLipStage, SilentLipTraining
from lipsync_cli.training.stages import AskedSettings, Settings, resolve
from lipsync_cli.training.syncnet import SyncNetStage, SyncNetTraining
from lipsync_cli.training.talking_face import TalkingFaceStage
from lipsync_cli.training.warping import WarpingStage, WarpingTraining

VGG_FILES = (
    "vgg19-dcbb9e9d.pth",
    "vgg19.safetensors",
    "vgg19.pth",
    "vgg16.safetensors",
    "vgg16-397923af.pth",
    "vgg16.pth",
)
"""What a VGG may be called in the folders of weights, the paper's (VGG-19) first."""

_LOG = logging.getLogger(__name__)
Network = TypeVar("Network", bound=nn.Module)


def prepare_folder(
    folder: Path, cache: Path, *, image_size: int, workers: int
) -> tuple[int, Iterator[Outcome]]:
    """All videos of a folder -> how many they are, and what becomes of each (`data.prepare`).

    Raises DataError when there is no video, SettingsError for an image_size that cannot be, WeightsError when
    a network of the preparation is missing.
    """
    settings = CacheSettings(image_size=image_size)
    sources = list_clips(folder)
    for role in ("face_detector", "face_landmarks", "speech_embedding"):
        find_for_role(role)
    return len(sources), prepare(sources, cache, preparation_tools, settings=settings, workers=workers)


def preparation_tools() -> Tools:
    """The networks of the preparation; called by name in each worker process."""
    embedding = _speech_embedding()
    return Tools(
        detector=FullRangeDetector(find_for_role("face_detector")),
        finder=MeshLandmarks(find_for_role("face_landmarks")),
        speech_steps=lambda log_mel, n_frames: (
            SpeechEmbeddingWindows(log_mel, embedding.steps).grid(n_frames).numpy()
        ),
    )


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
    _check_size(job, settings, cache)
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
    return Training(run, job, kept, tuple(_notes(kept, corpus)))


def look_by_landmarks() -> Look:
    """Crops -> mouths, by the face landmarks of the preparation."""
    finder = MeshLandmarks(find_for_role("face_landmarks"))

    def look(crops: NDArray[np.uint8]) -> Mouths:
        side = crops.shape[1]
        margin = side // 2
        # The finder wants the face with its surroundings, in which a crop's hair line and chin lie.
        face = Box(margin, margin - 0.1 * side, margin + side, margin + side)
        openings = np.zeros(len(crops), np.float32)
        points = np.full((len(crops), len(SCHEMES["mesh468"].lips), 2), np.nan, np.float32)
        for place, crop in enumerate(crops):
            padded = np.pad(crop, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
            landmarks = finder.find(padded, face)
            if landmarks is not None:
                openings[place] = opening(landmarks)
                points[place] = lips(landmarks) - margin
        return Mouths(openings, points)

    return look


def write_film(path: Path, film: Film) -> None:
    """A film with its sound as mp4. Raises MediaError."""
    with tempfile.TemporaryDirectory() as folder:
        speech = Path(folder) / "speech.wav"
        sound = waveform_of_mel(film.mel)
        with wave.open(str(speech), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sound.sample_rate)
            file.writeframes((sound.samples * 32767).astype("<i2").tobytes())
        height, width = film.frames.shape[1:3]
        with VideoWriter(path, width=width, height=height, rate=Fraction(25), speech=speech) as writer:
            for index, image in enumerate(film.frames):
                writer.write(Frame(index, index / 25, image))


def _check_size(job: TrainJob, settings: Settings, cache: CacheSettings) -> None:
    """DataError unless the crops are as large as the generator draws faces (other networks resize)."""
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
    look = look_by_landmarks()
    if isinstance(settings, WarpingTraining):
        reader = _given(LipReader, settings.lip_reader, "lip_reader", stage)
        embedding = _speech_embedding()
        return WarpingStage(corpus, settings, compute, reader=reader, embedding=embedding, look=look)
    judges = Judges(_given(AVSyncNet, settings.avsyncnet, "avsyncnet", stage), _vgg(settings))
    if isinstance(settings, SilentLipTraining):
        return SilentLipStage(corpus, settings, compute, judges=judges, look=look)
    silent_lip = _given(UNetFaceGenerator, settings.silent_lip, "silent_lip", stage)
    if silent_lip.image_size != settings.network.image_size:
        raise SettingsError(
            f"the silent-lip generator draws {silent_lip.image_size} pixels, but network.image_size is "
            f"{settings.network.image_size}: name another with --silent-lip"
        )
    return TalkingFaceStage(corpus, settings, compute, judges=judges, look=look, silent_lip=silent_lip)


def _given(kind: type[Network], name: str | None, role: str, stage: str) -> Network:
    """A network of another stage: the file or name that the settings give, else the registry's."""
    flag = "--" + role.replace("_", "-")
    try:
        path = find_weights(name) if name else find_for_role(role)
    except WeightsError as error:
        raise WeightsError(f"stage {stage} needs another stage's network ({flag} FILE): {error}") from error
    network = load_network(path)
    if not isinstance(network, kind):
        raise WeightsError(f"{path}: a {type(network).__name__}, not a {kind.__name__}: name one with {flag}")
    return network


def _speech_embedding() -> SpeechEmbedding:
    network = SpeechEmbedding().eval()
    load_into(network, find_for_role("speech_embedding"))
    return network


def _vgg(settings: GeneratorTraining) -> nn.Module | None:
    """The VGG that L_per and L_at need; None where both have coefficient 0."""
    needed = sorted(settings.coefficients.needed & {"perceptual", "triplet"})
    if not needed:
        return None
    if settings.vgg is not None:
        path = find_weights(settings.vgg)
    else:
        places = (folder / name for name in VGG_FILES for folder in search_folders())
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            keys = " and ".join(f"coefficients.{name}" for name in needed)
            zeros = " ".join(f"--set coefficients.{name}=0" for name in needed)
            raise SettingsError(
                f"a VGG is needed for {keys}: put torchvision's {VGG_FILES[0]} (the paper's VGG-19), or a "
                f"VGG-16 that weights/scripts/convert_vgg16.py made (vgg16.safetensors), into "
                f"{cache_folder()}, or name one with --vgg FILE; to train without it: {zeros}"
            )
        path = found
    network = load_public(path)
    if not isinstance(network, VGGFeatures):
        raise WeightsError(f"{path}: a {type(network).__name__}, not a VGG-19 or VGG-16")
    return network


def _fingerprint(clips: Sequence[Clip]) -> str:
    """Changes when clips come, go, or are renamed."""
    names = "\n".join(f"{clip.speaker}/{clip.name}" for clip in clips)
    return f"{len(clips)} clips, {zlib.crc32(names.encode()):08x}"


def _notes(kept: KeptSettings, corpus: Corpus) -> Iterator[str]:
    if kept.stage in ("gs", "gl") and kept.recipe == "default":
        yield "recipe 'default': stages gs and gl are one network, which is silent when it hears silence"
    if not corpus.validation:
        yield "no speaker is kept out for validation: there will be no figures (corpus.validation_speakers)"
