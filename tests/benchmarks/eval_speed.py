"""Clips a minute and peak memory of `lipsync eval`, the real program measured from outside.

    python tests/benchmarks/eval_speed.py                         # drawn from the demo's portrait
    python tests/benchmarks/eval_speed.py --clips REAL --few 4 --many 16 --workers 2

Two folders, the second with several times as many clips, are measured one after the other: the difference
of their times is that of the clips alone, without the start; memory that grew with the number of clips would
show in the difference of their peaks. Exit code 1 when it is more than `--most` MB a clip.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from lipsync_cli.faces.crop import crop_face
from lipsync_cli.interfaces import Box, Frame
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter
from lipsync_cli.registry.store import weights_folder

SIZE, N_FRAMES = 360, 75  # as GRID's clips are


@dataclass(frozen=True)
class Measured:
    """One run of the program."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    """Largest resident memory of the process, or of the largest of its workers."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clips", type=Path, help="folder of real videos; default: drawn ones of 3 s")
    parser.add_argument("--few", type=int, default=3)
    parser.add_argument("--many", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--most", type=float, default=1.0, help="MB of peak memory that a clip may cost")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = _videos(arguments.clips) if arguments.clips else [_drawn(Path(folder) / "drawn.mp4")]
        runs = {}
        for n_clips in (arguments.few, arguments.many):
            runs[n_clips] = _evaluate(
                _copies(sources, Path(folder) / str(n_clips), n_clips), arguments.workers
            )
            found = runs[n_clips]
            print(
                f"{n_clips:4} clips: {found.seconds:6.1f} s, {found.cpu_seconds:6.1f} s of processors, "
                f"peak {found.peak_mb:.0f} MB"
            )
    few, many = runs[arguments.few], runs[arguments.many]
    more = arguments.many - arguments.few
    seconds, cpu = (many.seconds - few.seconds) / more, (many.cpu_seconds - few.cpu_seconds) / more
    growth = (many.peak_mb - few.peak_mb) / more
    print(f"{60 / seconds:.1f} clips a minute with {arguments.workers} workers ({seconds:.2f} s a clip)")
    print(f"{cpu:.2f} s of processors a clip; {growth:+.2f} MB of peak memory a clip more")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}, processors: {os.cpu_count()}")
    return 1 if growth > arguments.most else 0


def _videos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.mp4") if path.is_file())


def _copies(sources: list[Path], folder: Path, n_clips: int) -> Path:
    folder.mkdir()
    for index in range(n_clips):
        shutil.copyfile(sources[index % len(sources)], folder / f"clip{index:03d}.mp4")
    return folder


def _drawn(path: Path) -> Path:
    """The demo's portrait, stretched up and down under the demo's sentence."""
    demo = weights_folder() / "demo"
    portrait = next(iter(VideoReader(demo / "portrait.jpg"))).image
    options = {"width": SIZE, "height": SIZE, "rate": Fraction(25), "speech": demo / "speech.m4a"}
    with VideoWriter(path, **options, preset="ultrafast") as writer:  # type: ignore[arg-type]
        for index in range(N_FRAMES):
            view = Box(62, 20, 402, 360 + 6 * float(np.sin(index / 2)))
            writer.write(Frame(index, index / 25, crop_face(portrait, view, SIZE)))
    return path


def _evaluate(folder: Path, workers: int) -> Measured:
    command = [sys.executable, "-m", "lipsync_cli", "eval", "--workers", str(workers)]
    command += ["--generated", str(folder), "--reference", str(folder), "--json", str(folder / "out.json")]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0.0
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        peak = max(peak, *(_resident_mb(pid) for pid in _family(process.pid)))
        time.sleep(0.2)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"lipsync eval ended with {process.returncode}")
    # the kernel's own figure is of the largest process of all that ended
    return Measured(
        time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, max(peak, usage.ru_maxrss / 1e3)
    )


def _family(pid: int) -> list[int]:
    """A process and its children (Linux)."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [pid, *map(int, children.read_text().split())]
    except OSError:
        return [pid]


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
