"""Where in its crop a face looks from: the same place for a turned head as for one that looks ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lipsync_cli.faces.track import FaceTrack

_N_STILL = 3  # of the anchors: eyes and nose, which speech does not move


def centred_on_features(track: FaceTrack) -> FaceTrack:
    """The same track, each box moved along its own width until eyes and nose lie around its middle.

    Between the edges of a face, where a track puts its boxes, the features of a turned head are off the
    middle, further with each degree: its mouth would lie elsewhere in the crop than in that of a reference,
    and a generator that moves pixels leaves a corner of the other mouth beside the new one. Of a head that
    looks ahead both middles are one. `track.anchors` must be known.
    """
    boxes = track.boxes.copy()
    middles = (boxes[:, :2] + boxes[:, 2:4]) / 2
    across = np.stack([np.cos(boxes[:, 4]), np.sin(boxes[:, 4])], axis=1)
    off = ((track.anchors[:, :_N_STILL].mean(axis=1) - middles) * across).sum(axis=1, keepdims=True)
    boxes[:, :4] += np.tile(off * across, 2) * track.present[:, None]
    return replace(track, boxes=boxes)
