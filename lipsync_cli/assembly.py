"""Names and settings -> built objects: the one place that knows networks, files and pipelines at once.

Heavy packages are imported where they are needed, so that importing this file costs nothing.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from lipsync_cli.assembly_networks import DubNetworks, networks_beside
from lipsync_cli.dubbing.job import DubJob, DubReport, DubSettings, NetworkUsed, Progress
from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Box
from lipsync_cli.nameless_file import NamelessFile

if TYPE_CHECKING:
    from lipsync_cli.dubbing.parts import Drawing, DubParts
    from lipsync_cli.interfaces import FrameStream

_DEMO_SIZE = 480, 480
_DEMO_RATE = Fraction(25)
_DEMO_VIEWS = Box(62, 0, 402, 340), Box(106, 5, 346, 245)
"""Where the demo's camera begins and ends."""


def dub(job: DubJob, progress: Progress | None = None, *, networks: DubNetworks | None = None) -> DubReport:
    """Make the person in `job.video` say `job.audio`.

    What can be known to be wrong is found before the work begins, and after any error there is no output.

    networks: `load_networks` of the job's settings, where several jobs have the same; else they are loaded.

    Raises MediaError, FaceError, WeightsError or SettingsError.
    """
    _check_files(job)
    return _dub(_open_stream(job), job, progress, networks)


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
        folder = job.report.absolute().parent
        if job.report.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise MediaError(f"{job.report}: cannot be written; give a file in a folder that is yours")
    probe_audio(job.audio)
    make_sound(job)


def _dub(
    stream: FrameStream, job: DubJob, progress: Progress | None, networks: DubNetworks | None = None
) -> DubReport:
    from lipsync_cli import assembly_output as way_out
    from lipsync_cli.assembly_speech import hearing_networks
    from lipsync_cli.dubbing import pipeline

    begin = time.perf_counter()
    way_out.open_sink(stream, job, stream.info.rate)  # not entered: it only refuses what it could not write
    with ExitStack() as stack:
        networks = networks or stack.enter_context(networks_beside(job.settings))
        used = list(networks.used)
        parts = _make_parts(stream, job, networks, used, stack)
        work = stack.enter_context(way_out.work_folder(stream, job, [*used, *hearing_networks()]))
        counts = pipeline.dub(
            parts,
            lambda rate: way_out.chunked(stream, job, rate, work),
            job.settings,
            progress,
            work=work,
            cache=way_out.first_pass_cache(job, used),
        )
    execution, seconds = networks.drawing().execution, time.perf_counter() - begin
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
        bits=way_out.written_colours(stream.info, job.settings).bits,
        source_bits=stream.info.bits,
        seconds=seconds,
        frames_per_second=counts.frames / seconds,
        peak_memory_mb=_peak_memory_mb(),
    )
    if job.report is not None:
        way_out.write_json(job.report, report)
    return report


def _open_stream(job: DubJob) -> FrameStream:
    """The job's video, read as its settings say."""
    from lipsync_cli.media.ffmpeg_reader import FfmpegReader
    from lipsync_cli.media.reader import VideoReader

    if job.settings.backend == "ffmpeg":
        return FfmpegReader(job.video, filters=job.settings.filter or "")
    return VideoReader(job.video)


def _make_parts(
    stream: FrameStream, job: DubJob, networks: DubNetworks, used: list[NetworkUsed], stack: ExitStack
) -> DubParts:
    """`used` is told of the files that this job's people and sounds need besides.

    Sounds are listened to beside the watching of the video, as soon as there are networks: until then they
    are held, 77 MB of 20 minutes.

    stack: until it ends, the thread that asks for the drawing networks leaves a core to other work.
    """
    from lipsync_cli.assembly_speakers import make_face_choice, sounds_of
    from lipsync_cli.assembly_speech import Heard, hear, load_speech
    from lipsync_cli.dubbing.parts import Drawing, DubParts, Speaker

    detector, finder = networks.faces
    further = sounds_of(job.settings)
    sounds = [job.audio, *(sound for _, sound in further)]
    speakers, waveforms = [], []
    for face, sound in ((job.settings.face, job.audio), *further):
        waveform = load_speech(sound)
        waveforms.append(waveform)
        speakers.append(
            Speaker(
                duration=waveform.duration,
                choice=make_face_choice(face, networks.faces, used, alone=not further),
                name="" if face == "largest" else face,
            )
        )

    def listen() -> Heard:
        _, talking_face = networks.drawing().generators
        heard = hear(talking_face.hears, waveforms, sounds, job.settings.pauses, file)
        waveforms.clear()
        return heard

    file = stack.enter_context(NamelessFile(job.output.absolute().parent))
    listening = stack.enter_context(ThreadPoolExecutor(1)).submit(listen)

    @cache
    def drawing() -> Drawing:
        loaded, heard = networks.drawing(), listening.result()
        from lipsync_cli.device import beside_other_work

        stack.enter_context(beside_other_work())
        used.extend(heard.used)
        heard.warn()
        silent_lip, talking_face = loaded.generators
        return Drawing(silent_lip, talking_face, heard.speeches, heard.pauses, loaded.restorer)

    return DubParts(stream, detector, finder, drawing, tuple(speakers))


def _peak_memory_mb() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
