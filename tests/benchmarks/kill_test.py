"""Kills a dub again and again with SIGKILL at random moments and lets it go on: nothing may be lost.

    python tests/benchmarks/kill_test.py VIDEO SPEECH [--kills 20] [--within S] [--backend ffmpeg]

Each run goes on with --resume and is killed at a random time after it has begun to work: while the video is
watched, while pieces are written or joined. The last run ends by itself, and its output is compared, byte by
byte, with that of a dub that was never stopped. Exit code 1 when they differ.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--within", type=float, help="seconds after which a run is killed at the latest")
    parser.add_argument("--backend", default="pyav", help="as for lipsync dub")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(run(given, Path(folder)))


def run(given: argparse.Namespace, folder: Path) -> int:
    whole, killed = folder / "whole.mp4", folder / "killed.mp4"

    def command(output: Path, *more: str) -> list[str]:
        files = [str(given.video), str(given.speech), "-o", str(output)]
        flags = ["--no-cache", "--backend", given.backend]
        return [sys.executable, "-m", "lipsync_cli", "dub", *flags, *files, *more]

    begin = time.perf_counter()
    subprocess.run(command(whole), check=True)
    length = time.perf_counter() - begin
    random_times = random.Random(given.seed)
    n_killed = 0
    while n_killed < given.kills:
        process = subprocess.Popen(command(killed, "--resume"), stderr=subprocess.PIPE, text=True)
        wait = random_times.uniform(0.1, 0.9) * (given.within or length)
        try:
            wait_until_it_works(process)
            _, told = process.communicate(timeout=wait)
            if process.returncode != 0:
                print(f"a run failed by itself ({process.returncode}): {told}")
                return 1
            print(f"a run of at most {wait:.1f} s came to its end; it begins anew")
            killed.unlink()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            n_killed += 1
            print(f"kill {n_killed:2d} after {wait:5.1f} s: {state(killed)}", flush=True)
            if killed.exists():  # finished just before: it is looked at, and the next run begins anew
                if whole.read_bytes() != killed.read_bytes():
                    print("this output is DIFFERENT")
                    return 1
                killed.unlink()
    subprocess.run(command(killed, "--resume"), check=True)
    left = [path.name for path in folder.iterdir() if path not in (whole, killed)]
    same = whole.read_bytes() == killed.read_bytes()
    print(
        f"{n_killed} kills; output {'identical' if same else 'DIFFERENT'}; left behind: {left or 'nothing'}"
    )
    return 0 if same and not left else 1


def wait_until_it_works(process: subprocess.Popen[str]) -> None:
    """Until the run holds the lock of its work folder: starting is not what is to be killed. Linux only."""
    handles = Path(f"/proc/{process.pid}/fd")
    while process.poll() is None:
        with suppress(OSError):  # handles come and go
            if any(str(handle.readlink()).endswith(".dub/lock") for handle in handles.iterdir()):
                return
        time.sleep(0.01)


def state(output: Path) -> str:
    """What the killed run left."""
    if output.exists():
        return "the output is complete"
    folder = output.with_name(f".{output.name}.dub")
    first_pass = "watched" if (folder / "first_pass.npz").exists() else "not watched yet"
    return f"{first_pass}, {len(list(folder.glob('frames-*.mp4')))} pieces"


if __name__ == "__main__":
    main()
