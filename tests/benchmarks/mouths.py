"""What a mouth does where `lipsync eval` cannot look: silence, still pictures, the video's own mouth.

    python tests/benchmarks/mouths.py FOLDER [--model NAME_OR_FILE] [--clips N]

Each video of FOLDER, which shows one person speaking, is dubbed by the real program, and mouths are measured
on the finished videos by fresh landmarks:

silence     the video with silent speech: median opening over the video's open mouth (95th percentile)
closed      the same, after the video was cut down to its most open third: no closed mouth to be seen
is closed   whether lips opened so far count as closed in a dub (`silencing.is_closed`)
still       its most closed frame as a picture, with its own speech: standard deviation of the openings over
            the video's, and correlation with them
leaking     the next video's speech on the video, and on the video played backwards: correlation of the curves
still leak  the next video's speech on its most closed and on its most open frame: correlation of the curves
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lipsync_cli.assembly_networks import make_face_finder
from lipsync_cli.dubbing.silencing import is_closed
from lipsync_cli.evaluation.watch import Watched, watch
from lipsync_cli.interfaces import Frame, Image
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter

RATE = Fraction(25)
COLUMNS = ("silence", "closed", "is closed", "still amplitude", "still r", "leaking r", "still leak r")


class Measure:
    """Dubs into a folder, and looks."""

    def __init__(self, folder: Path, model: str | None) -> None:
        self.folder = folder
        self.model = [] if model is None else ["--model", model]
        self.detector, self.finder = make_face_finder("mediapipe", "cpu", [])

    def dub(self, video: Path, speech: Path, name: str) -> Watched:
        out = self.folder / f"{name}.mp4"
        out.unlink(missing_ok=True)
        command = [sys.executable, "-m", "lipsync_cli", "dub", str(video), str(speech), "-o", str(out)]
        subprocess.run([*command, "--no-cache", *self.model], check=True, capture_output=True)
        return self.look(out)

    def look(self, video: Path) -> Watched:
        return watch(VideoReader(video), self.detector, self.finder)

    def row(self, video: Path, other: Path) -> list[float]:
        """The figures of `COLUMNS`."""
        real = self.look(video)
        openings = real.track.openings[real.track.present]
        opened = float(np.percentile(openings, 95))
        frames = [frame.image for frame in VideoReader(video)]
        order = np.argsort(np.where(real.track.present, real.track.openings, np.inf))[: len(openings)]
        closed_still, open_still = (
            self._still(frames[place], name) for place, name in ((order[0], "closed"), (order[-1], "open"))
        )
        backwards = self._video([frames[-1 - place] for place in range(len(frames))], "backwards")
        most_open = sorted(order[-(len(order) // 3) :].tolist())
        never_closed = self._video([frames[place] for place in most_open], "never_closed")
        silence = self._silence(len(frames) / float(RATE))
        still = self.dub(closed_still, video, "still")
        closed = self._median(self.dub(never_closed, silence, "silent_open"))
        return [
            self._median(self.dub(video, silence, "silent")) / opened,
            closed / opened,
            float(is_closed(closed, opened)),
            float(still.track.openings.std() / openings.std()),
            _correlation(still, real),
            _correlation(self.dub(video, other, "forth"), self.dub(backwards, other, "back")),
            _correlation(
                self.dub(closed_still, other, "from_closed"), self.dub(open_still, other, "from_open")
            ),
        ]

    def _still(self, image: Image, name: str) -> Path:
        path = self.folder / f"{name}.png"
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return path

    def _video(self, images: Sequence[Image], name: str) -> Path:
        """A video of these pictures, hardly compressed."""
        path = self.folder / f"{name}.mp4"
        height, width = images[0].shape[:2]
        sound = self._silence(len(images) / float(RATE))
        with VideoWriter(path, width=width, height=height, rate=RATE, speech=sound, crf=6) as writer:
            for index, image in enumerate(images):
                writer.write(Frame(index, index / float(RATE), image))
        return path

    def _silence(self, seconds: float) -> Path:
        path = self.folder / f"silence_{seconds:.2f}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(bytes(2 * int(16_000 * seconds)))
        return path

    @staticmethod
    def _median(seen: Watched) -> float:
        return float(np.median(seen.track.openings[seen.track.present]))


def _correlation(one: Watched, other: Watched) -> float:
    """Pearson's r of the openings at the frames of the shorter video."""
    n_frames = min(len(one.track.openings), len(other.track.openings))
    first, second = (seen.track.openings[:n_frames] for seen in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--clips", type=int)
    given = parser.parse_args()
    videos = sorted(given.folder.glob("*.mp4"))[: given.clips]
    print(f"| video | {' | '.join(COLUMNS)} |\n|---" + "|---" * len(COLUMNS) + "|", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        measure = Measure(Path(folder), given.model)
        for place, video in enumerate(videos):
            rows.append(measure.row(video, videos[(place + 1) % len(videos)]))
            print(f"| {video.stem} | {' | '.join(f'{value:.3f}' for value in rows[-1])} |", flush=True)
    for name, of in (("mean", np.mean), ("median", np.median)):
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in of(np.array(rows), axis=0))} |")


if __name__ == "__main__":
    main()
