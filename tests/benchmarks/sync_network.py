"""How well a sync network tells when lips and sound fit, on people it was not trained on.

    python tests/benchmarks/sync_network.py FILE CACHE [--only s2,s27] [--piece 2.0]

CACHE is made by `lipsync prepare --offsets off` (or `correct`). Figures: clips whose own offset is found
within a frame of 0, which it is where they were filmed well or corrected; pieces of --piece seconds, every
2 s and every 0.4 s, within a frame of the offset of their whole clip; and windows of 0.2 s that fit their
sound better than one of another time of the clip (0.2 s or more away; the sound moved by the clip's own
offset).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch

from lipsync_cli.data.layout import Clip, open_cache
from lipsync_cli.evaluation.sync import RATE, WINDOW, SyncEmbedder, sync_curve
from lipsync_cli.interfaces import Image, SyncScorer
from lipsync_cli.regions import to_network
from lipsync_cli.registry.checkpoint import load_network
from lipsync_cli.speech.windows import MelWindows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--only", help="speakers or clips, separated by commas; all where left out")
    parser.add_argument("--piece", type=float, default=2.0, help="seconds")
    given = parser.parse_args()
    torch.set_num_threads(1)
    network = cast(SyncScorer, load_network(given.network).eval())
    wanted = given.only.split(",") if given.only else None
    clips = [
        clip
        for clip in open_cache(given.cache)[1]
        if wanted is None or clip.speaker in wanted or clip.name in wanted
    ]
    length = round(given.piece * RATE)
    print("| clip | own offset | pieces every 2 s | every 0.4 s | windows of 0.2 s |\n|---|---|---|---|---|")
    offsets, apart, close, windows = [], [], [], []
    for clip in clips:
        lips = lips_of(clip)
        own = offset(clip, network, lips, range(len(lips)))
        near = [
            abs(offset(clip, network, lips, range(start, start + length)) - own) <= 1
            for start in range(0, len(lips) - length + 1, 10)
        ]
        far = near[::5]
        apart += far
        close += near
        right = list(window_choices(clip, network, lips, own))
        windows += right
        offsets.append(own)
        shares = (
            f"{sum(far)}/{len(far)}",
            f"{np.mean(near):.2f}" if near else "-",
            f"{np.mean(right):.3f}",
        )
        print(f"| {clip.name} | {own:+d} | {' | '.join(shares)} |", flush=True)
    within = np.mean([abs(own) <= 1 for own in offsets])
    print(f"\nclips within a frame of 0: {within:.3f} of {len(offsets)}")
    print(
        f"pieces of {given.piece} s within a frame of their clip's own: every 2 s {np.mean(apart):.3f} of "
        f"{len(apart)}, every 0.4 s {np.mean(close):.3f} of {len(close)}"
    )
    print(f"windows of 0.2 s: {np.mean(windows):.3f} of {len(windows)}")


def lips_of(clip: Clip) -> list[Image]:
    crops = clip.crops(list(range(clip.n_frames)))
    return list(crops[:, crops.shape[1] // 2 :])


def offset(clip: Clip, network: SyncScorer, lips: list[Image], frames: range) -> int:
    """Of a part of a clip against all of its sound, in frames."""
    mel = MelWindows(clip.read("mel"))
    shown = ((frame / RATE, lips[frame]) for frame in frames)
    return sync_curve(shown, mel.starting, clip.n_frames / RATE, network).best.frames


def window_choices(clip: Clip, network: SyncScorer, lips: list[Image], own: int) -> Iterator[float]:
    """For each window of 0.2 s: the share of the other sounds that fit it less than its own."""
    assert isinstance(network, SyncEmbedder)
    pictures = to_network(np.stack(lips))
    first = [start for start in range(len(lips) - WINDOW + 1) if 0 <= start + own <= len(lips) - WINDOW]
    with torch.inference_mode():
        seen = network.embed_lips(torch.stack([pictures[start : start + WINDOW] for start in first]))
        times = [(start + own) / RATE for start in first]
        heard = network.embed_speech(MelWindows(clip.read("mel")).starting(times))
        scores = seen @ heard.T
    for place in range(len(first)):
        others = [other for other in range(len(first)) if abs(other - place) >= WINDOW]
        if others:
            yield float((scores[place, place] > scores[place, others]).float().mean())


if __name__ == "__main__":
    main()
