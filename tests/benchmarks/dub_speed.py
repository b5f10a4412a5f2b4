"""Speed and memory of a dub: milliseconds a frame of each stage alone, and all of them together.

    python tests/benchmarks/dub_speed.py [--heights 360 720 1080] [--seconds 20] [--repeat 2]

The clips are made from the demo's portrait, filmed with a camera move and with grain, 25 fps. Each stage
alone is run on all frames of the clip, which lie in memory, until the last of its results is there, with the
threads that it has in a dub. All of them, because the face grows: those of the first seconds are quicker. The
sum is start + 2 decode + watch + crop + speak + paste + encode, for a dub decodes twice. The dub is the real
thing, in a process of its own. Of both the best of `--repeat` times counts. Other work on the machine
disturbs: stop it, or believe the CPU seconds. 20 s of 1080p take 4 GB.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np

from lipsync_cli import assembly
from lipsync_cli.assembly_networks import load_networks
from lipsync_cli.assembly_output import open_sink
from lipsync_cli.device import beside_other_work
from lipsync_cli.dubbing import pipeline, stages
from lipsync_cli.dubbing.job import DubJob, DubSettings
from lipsync_cli.dubbing.stored_references import StoredReferences
from lipsync_cli.dubbing.watch import watch
from lipsync_cli.interfaces import Box, Frame, VideoInfo
from lipsync_cli.media.camera import CameraMove
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.memory import keep_freed_memory
from lipsync_cli.registry.store import weights_folder

RATE = Fraction(25)
GRAIN = 1.5
"""Standard deviation of the grain, grey levels."""
ENCODED = 25
"""Frames that were handed to the encoder when its first one is certainly encoded."""
START = """
import sys
from contextlib import ExitStack
from pathlib import Path
import av, cv2, torch
from lipsync_cli import assembly
from lipsync_cli.assembly_networks import load_networks
from lipsync_cli.cli import app
from lipsync_cli.dubbing.job import DubJob, DubSettings
from lipsync_cli.media.reader import VideoReader
job = DubJob(*map(Path, sys.argv[1:4]), DubSettings())
with ExitStack() as stack:
    networks = load_networks(job.settings)
    assembly._make_parts(VideoReader(job.video), job, networks, [], stack).drawing()
"""
PROGRAM = f"""
import resource, sys, time
from pathlib import Path
def peak():
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    # ru_maxrss begins with that of the process that started this one
    return next(int(line.split()[1]) / 1e3 for line in status.open() if line.startswith("VmHWM"))
begin = time.perf_counter()
from lipsync_cli import assembly
from lipsync_cli.dubbing.job import DubJob, DubSettings
from lipsync_cli.memory import keep_freed_memory
keep_freed_memory()
times = {{}}
def tell(stage, done, total):
    now = time.perf_counter() - begin
    times.setdefault((stage, "first"), now)
    times[stage, "last"] = now
    if done == {ENCODED}:
        times[stage, "encoded"] = now
settings = DubSettings(model=sys.argv[4])
assembly.dub(DubJob(*map(Path, sys.argv[1:4]), settings, cache=False), tell)
watched = times["watch", "last"] - times["watch", "first"]
print(times["dub", "encoded"] - watched, peak())
"""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Together:
    """A whole dub in a process of its own."""

    wall: float
    cpu: float
    peak_mb: float
    first_frame: float
    """Seconds from the start until a first frame was encoded, without the watch pass."""


class InMemory:
    """Frames that need no decoding (a `FrameStream`); nothing of a picture was looked at before."""

    def __init__(self, info: VideoInfo, frames: list[Frame]) -> None:
        self.info = info
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        return (replace(frame, picture=copy.copy(frame.picture)) for frame in self._frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heights", type=int, nargs="+", default=[360, 720, 1080])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    keep_freed_memory()
    lines = [
        "| picture | start | decode | watch | crop | speak | paste | encode | sum | together | of the sum "
        "| x real time | CPU s | peak MB | first frame s |",
        "|---" * 15 + "|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for height in given.heights:
            lines.append(row(Path(folder), height, given.seconds, given.repeat))
            print(lines[-1], flush=True)
    print("\n".join(lines))
    if given.markdown:
        given.markdown.write_text("\n".join(lines) + "\n")


def row(folder: Path, height: int, seconds: float, repeat: int) -> str:
    clip, speech = make_clip(folder, height, seconds), make_speech(folder, seconds)
    n = round(seconds * RATE)
    alone = {"start": best(repeat, lambda: start(clip, speech)) * 1000 / n}
    with beside_other_work():
        alone |= stages_alone(clip, speech, repeat)
    whole = min((dub(clip, speech, folder) for _ in range(repeat)), key=lambda run: run.wall)
    total = sum(alone.values()) + alone["decode"]
    together = whole.wall * 1000 / n
    cells = [f"{height}p", *(f"{ms:.1f}" for ms in alone.values()), f"{total:.1f}", f"{together:.1f}"]
    cells += [f"{together / total:.2f}", f"{seconds / whole.wall:.2f}", f"{whole.cpu:.0f}"]
    cells += [f"{whole.peak_mb:.0f}", f"{whole.first_frame:.1f}"]
    return f"| {' | '.join(cells)} |"


def make_clip(folder: Path, height: int, seconds: float) -> Path:
    """A portrait filmed with a camera move, 16:9."""
    width = height * 16 // 9
    path = weights_folder() / "demo" / "portrait.jpg"
    film = CameraMove(
        next(iter(VideoReader(path))).image,
        path=path,
        first=Box(0, 0, 512, 288),
        last=Box(30, 10, 478, 262),
        size=(width, height),
        n_frames=round(seconds * RATE),
        rate=RATE,
    )
    random = np.random.default_rng(0)
    grain = random.normal(0, GRAIN, (height + 64, width + 64, 1)).astype(np.int16)
    clip = folder / f"{height}p.mp4"
    with VideoWriter(clip, width=width, height=height, rate=RATE, speech=None, preset="veryfast") as sink:
        for frame in film:
            y, x = random.integers(0, 64, 2)
            image = np.clip(frame.image + grain[y : y + height, x : x + width], 0, 255).astype(np.uint8)
            sink.write(Frame(frame.index, frame.time, image))
    return clip


def make_speech(folder: Path, seconds: float) -> Path:
    """The demo's sentence, again and again."""
    import soundfile

    from lipsync_cli.media.audio import load_waveform

    waveform = load_waveform(weights_folder() / "demo" / "speech.m4a")
    path = folder / "speech.wav"
    samples = np.resize(waveform.samples, round(seconds * waveform.sample_rate))
    soundfile.write(path, samples, waveform.sample_rate)
    return path


def start(clip: Path, speech: Path) -> None:
    """Everything that a dub does before its first frame: imports, mostly; networks and speech are loaded."""
    command = [sys.executable, "-c", START, *map(str, (clip, speech, clip.with_name("alone.mp4")))]
    subprocess.run(command, check=True)


def stages_alone(clip: Path, speech: Path, repeat: int) -> dict[str, float]:
    """Milliseconds a frame of each stage by itself."""
    video, settings = VideoReader(clip), DubSettings()
    job = DubJob(clip, speech, clip.with_name("alone.mp4"), settings)
    networks = load_networks(settings)
    # A speech keeps the steps that it was asked for last: of each run it is another.
    made = [assembly._make_parts(video, job, networks, [], ExitStack()) for _ in range(repeat + 1)]
    unheard = iter([parts.drawing().speeches[0] for parts in made])
    parts = made[0]
    drawing = parts.drawing()
    frames = list(video)

    def timed(work: Callable[[], Result]) -> tuple[float, Result]:
        result = work()
        return best(repeat, work) * 1000 / len(frames), result

    decode, _ = timed(lambda: sum(1 for _ in video))
    memory = InMemory(video.info, frames)
    held = replace(parts, stream=memory)
    look, watched = timed(lambda: watch(held, pipeline._nobody, math.inf, StoredReferences))
    seen = watched[0]
    shown = pipeline._shown(parts, (parts.speakers[0], drawing.pauses[0], seen), settings)
    references = seen.references
    batch = pipeline.frames_in_batch(video.info, settings)

    def cut() -> list[stages.DubFrame]:
        items = (stages.DubFrame(frame, source=frame.index) for frame in memory)
        return list(stages.crop(items, seen.track, seen.shots, references, shown))

    def speak() -> list[stages.DubFrame]:
        speech = next(unheard)
        return list(stages.speak(iter(crops), drawing.talking_face, speech, references, batch=batch))

    cropped, crops = timed(cut)
    spoken, faces = timed(speak)
    pasted, done = timed(lambda: list(stages.paste(iter(faces), seen.track)))

    def encode() -> None:
        with open_sink(video, job, video.info.rate) as sink:
            for item in done:
                sink.write(item.frame)

    encoded, _ = timed(encode)
    return {
        "decode": decode,
        "watch": look,
        "crop": cropped,
        "speak": spoken,
        "paste": pasted,
        "encode": encoded,
    }


def best(repeat: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of some runs."""
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def dub(clip: Path, speech: Path, folder: Path, model: str | Path = "default") -> Together:
    """The real program, measured from outside."""
    command = [sys.executable, "-c", PROGRAM, *map(str, (clip, speech, folder / "dubbed.mp4", model))]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the dub failed with {process.returncode}")
    first_frame, peak_mb = map(float, told.split())
    return Together(wall, usage.ru_utime + usage.ru_stime, peak_mb, first_frame)


if __name__ == "__main__":
    main()
