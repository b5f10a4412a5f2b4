"""Names and settings -> built objects: the one place that knows networks, files and pipelines at once.

Heavy packages are imported where they are needed, so that importing this file costs nothing.
"""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from lipsync_cli.dubbing.job import DubJob, DubReport, DubSettings, NetworkUsed, Progress
from lipsync_cli.errors import MediaError, SettingsError, WeightsError
from lipsync_cli.interfaces import Box

if TYPE_CHECKING:
    from lipsync_cli.device import Execution
    from lipsync_cli.dubbing.parts import DubParts
    from lipsync_cli.interfaces import (
        FaceDetector,
        FaceGenerator,
        FrameStream,
        LandmarkFinder,
        Speech,
        Waveform,
    )

_ROLES = ("silent_lip", "talking_face")
_NO_PAPER_SET = (
    "--model paper: the paper's networks do not come with lipsync_cli; train them with `lipsync train` and "
    "the settings of configs/paper, then give --model TALKING_FACE_FILE --silent-lip SILENT_LIP_FILE"
)
_DEMO_SIZE = 480, 480
_DEMO_RATE = Fraction(25)
_DEMO_VIEWS = Box(62, 0, 402, 340), Box(106, 5, 346, 245)
"""Where the demo's camera begins and ends."""


def dub(job: DubJob, progress: Progress | None = None) -> DubReport:
    """Make the person in `job.video` say `job.audio`.

    What can be known to be wrong is found before the work begins, and after any error there is no output.
    Raises MediaError, FaceError, WeightsError or SettingsError.
    """
    _check_files(job)
    return _dub(_open_stream(job), job, progress)


def demo(output: Path, settings: DubSettings | None = None, progress: Progress | None = None) -> DubReport:
    """Make the portrait that comes with the program, filmed with a slow camera move, say a sentence.

    Raises as `dub`.
    """
    from lipsync_cli.media.audio import load_waveform
    from lipsync_cli.media.camera import CameraMove
    from lipsync_cli.media.reader import VideoReader
    from lipsync_cli.registry.store import weights_folder

    folder = weights_folder() / "demo"
    job = DubJob(folder / "portrait.jpg", folder / "speech.m4a", output, settings or DubSettings())
    _check_files(job)
    first, last = _DEMO_VIEWS
    film = CameraMove(
        next(iter(VideoReader(job.video))).image,
        path=job.video,
        first=first,
        last=last,
        size=_DEMO_SIZE,
        n_frames=ceil(load_waveform(job.audio).duration * _DEMO_RATE),
        rate=_DEMO_RATE,
    )
    return _dub(film, job, progress)


def make_execution(device: str, precision: str) -> Execution:
    """Where networks run and in what; SettingsError when the machine cannot."""
    from lipsync_cli.device import Execution, resolve_device, resolve_precision

    resolved = resolve_device(device)
    return Execution(resolved, resolve_precision(precision, resolved))


def make_generators(
    settings: DubSettings, execution: Execution, used: list[NetworkUsed]
) -> tuple[FaceGenerator, FaceGenerator]:
    """The silent-lip and the talking-face generator that the settings ask for (they may be one network).

    `used` is told of their files. WeightsError when one is missing, damaged, no face generator, or not made
    for the other.
    """
    from lipsync_cli.assembly_networks import load_generator
    from lipsync_cli.registry.store import find_weights, load_registry

    if settings.model in ("default", "paper"):
        registry = load_registry()
        if settings.model == "paper" and "paper" not in registry.sets:
            raise WeightsError(_NO_PAPER_SET)
        names = [registry.name_for(role, settings.model) for role in _ROLES]
    else:
        names = [str(settings.silent_lip or settings.model), settings.model]
    paths = [find_weights(name) for name in names]
    silent_lip = load_generator(paths[0], execution)
    talking_face = silent_lip if paths[0] == paths[1] else load_generator(paths[1], execution)
    for fact in ("image_size", "n_references", "hears", "scalable"):
        ours, theirs = getattr(silent_lip, fact), getattr(talking_face, fact)
        if ours != theirs:
            raise WeightsError(
                f"{paths[0]} and {paths[1]} do not work together: their {fact} is {ours} and {theirs}"
            )
    used += [_used(role, name, path) for role, name, path in zip(_ROLES, names, paths, strict=True)]
    return silent_lip, talking_face


def make_face_finder(
    name: str, execution: Execution, used: list[NetworkUsed]
) -> tuple[FaceDetector, LandmarkFinder]:
    """`mediapipe` or `fan` -> detector and landmarks; `used` is told of their files."""
    from lipsync_cli.faces import fan
    from lipsync_cli.faces.detector import FullRangeDetector
    from lipsync_cli.faces.landmarks import MeshLandmarks
    from lipsync_cli.registry.store import find_weights, load_registry

    if name == "fan":
        faces = fan.FanFaces(execution.device.type)
        files = [fan.weights_folder() / file for file in fan.FILES]
        used += [_used("faces", path.name, path) for path in files]
        return faces, faces
    if name != "mediapipe":
        raise SettingsError(f"unknown detector '{name}': use mediapipe or fan")
    names = {role: load_registry().name_for(role) for role in ("face_detector", "face_landmarks")}
    paths = {role: find_weights(found) for role, found in names.items()}
    used += [_used(role, names[role], path) for role, path in paths.items()]
    return FullRangeDetector(paths["face_detector"]), MeshLandmarks(paths["face_landmarks"])


def make_speech(hears: str, waveform: Waveform, used: list[NetworkUsed]) -> Speech:
    """What a generator hears of a 16 kHz waveform; `used` is told of the speech network's file, if any."""
    from lipsync_cli.speech.embedding_mel import embedding_mel
    from lipsync_cli.speech.mel import mel_spectrogram
    from lipsync_cli.speech.windows import MelWindows, MelWindowsFromFrame, SpeechEmbeddingWindows

    if hears == "mel":
        return MelWindows(mel_spectrogram(waveform))
    if hears == "mel_from_frame":
        return MelWindowsFromFrame(mel_spectrogram(waveform))
    if hears != "speech_embedding":
        raise WeightsError(f"this generator hears '{hears}', which this version of lipsync_cli cannot make")
    from lipsync_cli.models.speech_embedding import SpeechEmbedding
    from lipsync_cli.registry.checkpoint import load_into
    from lipsync_cli.registry.store import find_weights, load_registry

    name = load_registry().name_for("speech_embedding")
    path = find_weights(name)
    network = SpeechEmbedding().eval()
    load_into(network, path)
    used.append(_used("speech_embedding", name, path))
    return SpeechEmbeddingWindows(embedding_mel(waveform), network.steps)


def _used(role: str, name: str, path: Path) -> NetworkUsed:
    from lipsync_cli.registry.store import sha256_of

    return NetworkUsed(role, name, sha256_of(path))


def _check_files(job: DubJob) -> None:
    """MediaError unless the sound can be read and the outputs can be written without harm to an input."""
    from lipsync_cli.assembly_speakers import files_of, make_sound
    from lipsync_cli.media.probe import probe_audio
    from lipsync_cli.media.writer import check_not_an_input, check_output

    chosen = (job.settings.model, job.settings.silent_lip, job.settings.restore_weights)
    networks = [Path(name) for name in chosen if name is not None]
    inputs = (*files_of(job), *networks)
    check_not_an_input(job.output, *inputs)
    check_output(job.output, job.settings.codec)
    if job.report is not None:
        check_not_an_input(job.report, job.output, *inputs)
        if job.report.is_dir() or not job.report.absolute().parent.is_dir():
            raise MediaError(f"{job.report}: cannot be written; give a file in a folder that exists")
    probe_audio(job.audio)
    make_sound(job)


def _dub(stream: FrameStream, job: DubJob, progress: Progress | None) -> DubReport:
    from lipsync_cli.assembly_output import chunked, first_pass_cache, open_sink, work_folder, write_json
    from lipsync_cli.dubbing import pipeline

    begin = time.perf_counter()
    used: list[NetworkUsed] = []
    execution = make_execution(job.settings.device, job.settings.precision)
    open_sink(stream, job, stream.info.rate)  # not entered: it only refuses what it could not write
    parts = _make_parts(stream, job, execution, used)
    with work_folder(stream, job, used) as work:
        counts = pipeline.dub(
            parts,
            lambda rate: chunked(stream, job, rate, work),
            job.settings,
            progress,
            work=work,
            cache=first_pass_cache(job, used),
        )
    seconds = time.perf_counter() - begin
    report = DubReport(
        video=job.video,
        audio=job.audio,
        output=job.output,
        settings=job.settings,
        counts=counts,
        networks=tuple(used),
        device=execution.device.type,
        precision=str(execution.dtype).removeprefix("torch."),
        width=stream.info.width,
        height=stream.info.height,
        seconds=seconds,
        frames_per_second=counts.frames / seconds,
        peak_memory_mb=_peak_memory_mb(),
    )
    if job.report is not None:
        write_json(job.report, report)
    return report


def _open_stream(job: DubJob) -> FrameStream:
    """The job's video, read as its settings say."""
    from lipsync_cli.media.ffmpeg_reader import FfmpegReader
    from lipsync_cli.media.reader import VideoReader

    if job.settings.backend == "ffmpeg":
        return FfmpegReader(job.video, filters=job.settings.filter or "")
    return VideoReader(job.video)


def _make_parts(stream: FrameStream, job: DubJob, execution: Execution, used: list[NetworkUsed]) -> DubParts:
    from lipsync_cli.assembly_networks import make_restorer
    from lipsync_cli.assembly_speakers import load_speech, make_face_choice, sounds_of
    from lipsync_cli.dubbing.parts import DubParts, Speaker
    from lipsync_cli.speech.pauses import pauses

    silent_lip, talking_face = make_generators(job.settings, execution, used)
    detector, finder = faces = make_face_finder(job.settings.detector, execution, used)
    restorer = make_restorer(job.settings, execution, used)
    further = sounds_of(job.settings)
    speakers = []
    for face, sound in ((job.settings.face, job.audio), *further):
        waveform = load_speech(sound)
        speakers.append(
            Speaker(
                speech=make_speech(talking_face.hears, waveform, used),
                duration=waveform.duration,
                choice=make_face_choice(face, faces, used, alone=not further),
                pauses=pauses(waveform),
                name="" if face == "largest" else face,
            )
        )
    first, *others = speakers
    return DubParts(
        stream=stream,
        speech=first.speech,
        duration=first.duration,
        detector=detector,
        finder=finder,
        silent_lip=silent_lip,
        talking_face=talking_face,
        restorer=restorer,
        choice=first.choice,
        pauses=first.pauses,
        name=first.name,
        others=tuple(others),
    )


def _peak_memory_mb() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
