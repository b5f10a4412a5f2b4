"""Where a dub's work goes: the video and its pieces, the folder in which they are kept, the report."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from lipsync_cli import __version__
from lipsync_cli.dubbing.job import DubJob, DubReport, DubSettings, NetworkUsed
from lipsync_cli.errors import MediaError
from lipsync_cli.processor import cores
from lipsync_cli.settings import to_mapping
from lipsync_cli.whole_file import whole_file

if TYPE_CHECKING:
    from lipsync_cli.dubbing.first_pass_cache import FirstPassCache
    from lipsync_cli.dubbing.work_folder import WorkFolder
    from lipsync_cli.interfaces import Colours, FrameSink, FrameStream, VideoInfo


_NOT_WATCHING = ("talking_face", "speech_embedding", "voice_detector", "restorer")
"""Networks that have no part in a first pass."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables of the environment that tell torch how many cores to use."""
_LAYOUT = 5
"""Of what a first pass leaves behind: one more whenever a field comes or goes, or is found in another way."""


def work_folder(stream: FrameStream, job: DubJob, used: Sequence[NetworkUsed]) -> WorkFolder:
    """What a dub by these networks keeps of itself until it is finished."""
    from lipsync_cli.assembly_speakers import files_of
    from lipsync_cli.dubbing.pipeline import frames_in_chunk
    from lipsync_cli.dubbing.work_folder import WorkFolder, fingerprint_of

    return WorkFolder(
        job.output,
        fingerprint_of(job, files_of(job), used, _software()),
        n_frames=frames_in_chunk(stream.info, job.settings),
        resume=job.resume,
    )


def first_pass_cache(job: DubJob, used: Sequence[NetworkUsed]) -> FirstPassCache | None:
    """Where earlier dubs of the same video, faces, networks and length have left what they saw of it.

    In the user's cache folder; None where the job wants none. The speeches count by their length alone, which
    decides how much of the video is watched.
    """
    if not job.cache:
        return None
    from lipsync_cli.assembly_speakers import faces_of, sounds_of
    from lipsync_cli.dubbing.first_pass_cache import FirstPassCache
    from lipsync_cli.dubbing.work_folder import identity
    from lipsync_cli.media.probe import probe_audio
    from lipsync_cli.registry.store import cache_folder

    settings, further = job.settings, sounds_of(job.settings)
    sounds = [job.audio, *(sound for _, sound in further)]
    key = {
        "layout": _LAYOUT,
        # the video counts also where it is its own speech
        "files": [identity(job.video), *(identity(path) for path in faces_of(settings))],
        "lengths": [probe_audio(sound).duration for sound in sounds],
        "faces": [settings.face, *(face for face, _ in further)],
        "networks": {network.role: network.sha256 for network in used if network.role not in _NOT_WATCHING},
        "settings": [settings.detector, settings.shorter, settings.precision, settings.device],
        **_software(),
    }
    return FirstPassCache(cache_folder() / "watched", key)


def _software() -> dict[str, object]:
    """What of this installation and machine decides the last bits of a result, told without torch."""
    import av
    import cv2

    return {
        "version of lipsync": __version__,
        "versions of packages": [version("torch"), av.__version__, cv2.__version__],
        "number of threads": [*map(os.environ.get, _THREADS), os.cpu_count(), cores()],
    }


def chunked(stream: FrameStream, job: DubJob, rate: Fraction, work: WorkFolder) -> FrameSink:
    """What takes the frames that are not in the folder yet, and makes the output of all."""
    from lipsync_cli.assembly_speakers import make_sound
    from lipsync_cli.media.chunks import ChunkedWriter

    return ChunkedWriter(
        job.output,
        work.path,
        n_frames=work.n_frames,
        open_chunk=lambda path: open_sink(stream, job, rate, path),
        rate=rate,
        speech=make_sound(job),
    )


def open_sink(stream: FrameStream, job: DubJob, rate: Fraction, chunk: Path | None = None) -> FrameSink:
    """What encodes the job's whole output, or one silent piece of it."""
    from lipsync_cli.assembly_speakers import make_sound
    from lipsync_cli.media.ffmpeg_writer import FfmpegWriter
    from lipsync_cli.media.writer import VideoWriter

    on_ffmpeg = job.settings.backend == "ffmpeg"
    writer = partial(FfmpegWriter, encoder=job.settings.encoder) if on_ffmpeg else VideoWriter
    return writer(
        chunk or job.output,
        called=job.output,
        colours=written_colours(stream.info, job.settings),
        width=stream.info.width * (2 if job.settings.side_by_side else 1),
        height=stream.info.height,
        rate=rate,
        speech=None if chunk else make_sound(job),
        crf=job.settings.crf,
        preset=job.settings.preset,
        codec=job.settings.codec,
    )


def written_colours(info: VideoInfo, settings: DubSettings) -> Colours:
    """The source's where it says some, in 10 bits where that is asked for, or where it has more than 8 and
    the format is HEVC: H.264 of 10 bits is played by few devices."""
    from lipsync_cli.media.colours import usual_colours

    colours = info.colours or usual_colours(info.height)
    is_hevc = "264" not in (settings.encoder or settings.codec)
    keeps = is_hevc and not settings.side_by_side
    bits = (colours.bits if keeps else 8) if settings.bits == "auto" else int(settings.bits)
    return replace(colours, bits=bits)


def write_json(path: Path, report: DubReport) -> None:
    """Write the report, at once or not at all; MediaError when that fails."""
    try:
        with whole_file(path) as part:
            part.write_text(json.dumps(to_mapping(report), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise MediaError(f"{path}: cannot write the report: {error.strerror}") from error
