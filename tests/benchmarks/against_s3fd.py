"""A dub with a generator of the paper's size, against the S3FD of pipelines that run it on each frame.

    python tests/benchmarks/against_s3fd.py [--heights 360 720] [--seconds 20] [--frames 4]

Ours is the real program from start to end, with G_L of `configs/paper` (random weights: time does not depend
on them). Theirs is the S3FD network of the package face-alignment alone (extra `fan`; random weights), as
Wav2Lip and its forks call it for each frame at its full size: their boxes, generator, pasting and encoding
are left out, in their favour. Both have all cores. One run, the best of --frames frames.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from dub_speed import dub, make_clip, make_speech
from face_alignment.detection.sfd.detect import batch_detect
from face_alignment.detection.sfd.net_s3fd import s3fd

from lipsync_cli.interfaces import Image
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.models.face_generator import UNetFaceGenerator, UNetSettings
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heights", type=int, nargs="+", default=[360, 720])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--frames", type=int, default=4)
    given = parser.parse_args()
    torch.manual_seed(0)
    print("| picture | parameters | whole dub, ms a frame | S3FD alone, ms a frame | times as long |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generator, n_parameters = make_generator(folder)
        for height in given.heights:
            clip, speech = make_clip(folder, height, given.seconds), make_speech(folder, given.seconds)
            images = [frame.image for _, frame in zip(range(given.frames), VideoReader(clip), strict=False)]
            theirs = min(detection_seconds(images)) * 1000
            n_frames = sum(1 for _ in VideoReader(clip))
            ours = dub(clip, speech, folder, model=generator).wall * 1000 / n_frames
            times = f"{ours:.1f} | {theirs:.0f} | {theirs / ours:.0f}"
            print(f"| {height}p | {n_parameters / 1e6:.1f} M | {times} |", flush=True)


def make_generator(folder: Path) -> tuple[Path, int]:
    """A checkpoint of the paper's generator, and its number of parameters (E_A included)."""
    settings = UNetSettings()
    network = UNetFaceGenerator(settings)
    path = folder / "generator.safetensors"
    save_checkpoint(path, network, architecture="unet", settings=to_mapping(settings))
    return path, sum(parameter.numel() for parameter in network.parameters())


def detection_seconds(images: list[Image]) -> list[float]:
    """Seconds that S3FD takes for each picture; once more for the first, which sets the network up."""
    network = s3fd().eval().requires_grad_(False)
    # Random scores would call each of some 100 000 places a face, and sorting those is no part of its work.
    for name, layer in network.named_modules():
        if name.endswith("_conf") and isinstance(layer, torch.nn.Conv2d) and layer.bias is not None:
            torch.nn.init.constant_(layer.weight, 0)
            background = torch.arange(len(layer.bias)) != len(layer.bias) - 1
            layer.bias.data.copy_(20.0 * background)
    torch.set_num_threads(os.cpu_count() or 1)
    seconds = []
    for image in [images[0], *images]:
        picture = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))[None])
        begin = time.perf_counter()
        batch_detect(network, picture, "cpu")
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]


if __name__ == "__main__":
    main()
