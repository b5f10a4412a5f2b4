"""Makes face_mean.safetensors, the mean of the face descriptor, from a cache's crops.

    python weights/scripts/make_face_mean.py CACHE

Every speaker counts alike. The shipped one: GRID without s10, s23, s25 and s30.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from lipsync_cli.data.layout import open_cache
from lipsync_cli.faces.descriptor import gradients
from lipsync_cli.interfaces import Landmarks

LEFT_OUT = {"s10", "s23", "s25", "s30"}
PER_CLIP = 4
MOST_CLIPS = 10


def main() -> None:
    by_speaker: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for clip in open_cache(Path(sys.argv[1]))[1]:
        if clip.speaker not in LEFT_OUT and len(by_speaker[clip.speaker]) < MOST_CLIPS * PER_CLIP:
            frames = np.linspace(5, clip.n_frames - 6, PER_CLIP).astype(int).tolist()
            points = clip.read("landmarks")
            by_speaker[clip.speaker] += [
                gradients(crop, Landmarks(points[frame], "mesh468", 1.0))
                for crop, frame in zip(clip.crops(frames), frames, strict=True)
            ]
    mean = np.mean([np.mean(described, axis=0) for described in by_speaker.values()], axis=0)
    target = Path(__file__).resolve().parent.parent / "face_mean.safetensors"
    save_file({"mean": mean.astype(np.float32)}, target)
    print(f"{target}: {len(by_speaker)} speakers")


main()
