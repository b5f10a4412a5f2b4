"""Putting a generated face back into its picture, so that only the mouth seems to have changed."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces.crop import crop_to_image, image_to_crop, points_in_crop
from lipsync_cli.interfaces import Area, Box, Image, Picture, Points
from lipsync_cli.pictures import part_of, whole, with_part

Floats = NDArray[np.float32]

FEATHER = 0.06
"""Width of the soft edge along the outline, in sides of the crop."""
HALF_FEATHER = 0.09
"""Width of the soft edge below the half line, in sides of the crop: it crosses the cheeks, so wide."""
CHIN_ROOM = 0.1
"""How far the outline's chin is moved down, in sides of the crop: room for a jaw that opens further, and for
the neck above the old chin where the new one is higher."""

_MASK = 128  # the mask is smooth: it is computed at this size and enlarged
_COLOUR = 32  # pixels of the longer side at which colours are compared
_SPREAD = 4.0  # of these pixels, over which a difference of colour fades into the face
_SAME_SKIN = 16.0  # grey levels; larger differences are another content, not another colour
_STRONGEST = 32.0  # grey levels


def paste_face(image: Image, face: Image, box: Box, outline: Points, *, match_colour: bool = True) -> Image:
    """`paste_into` of an array: a new one, uint8 [H, W, 3]."""
    return whole(paste_into(image, face, box, outline, match_colour=match_colour))


def paste_into(
    picture: Picture,
    face: Image,
    box: Box,
    outline: Points,
    *,
    share: float = 1.0,
    match_colour: bool = True,
) -> Picture:
    """A new picture in which the lower half of the face is the generated one.

    Only pixels inside the face's outline (its chin moved down by `CHIN_ROOM`), inside the crop's box and
    below its half line change; all others stay bit-identical. Towards all these borders the change fades
    out, and the new face takes over the slow differences of colour that it finds there.

    Args:
        picture: may be an array, uint8 [H, W, 3].
        face: uint8 [S, S, 3], the generated face at any size; its upper half is not used.
        box: Where the crop lay in the picture; it may be turned and may reach past the picture.
        outline: [P, 2] ring around the face, picture pixels.
        share: of the generated face, 0 (the filmed one) to 1.
        match_colour: False to leave the generated colours as they are.
    """
    region = _region(box, picture.shape[1], picture.shape[0])
    if region is None:
        return picture
    mask = np.rint(paste_mask(box, outline) * 255).astype(np.uint8)
    alpha: Floats = _to_region(mask, box, region, cv2.INTER_LINEAR) * np.float32(1 / 255)
    new: Floats = _to_region(_at_most(face, box), box, region, cv2.INTER_CUBIC).astype(np.float32)
    old: Floats = part_of(picture, region).astype(np.float32)
    if match_colour:
        new = np.clip(new + _colour_shift(old, new, alpha), 0, 255)
    mixed = np.rint(old + (share * alpha)[..., None] * (new - old)).astype(np.uint8)
    return with_part(picture, region, mixed)


def paste_mask(box: Box, outline: Points, size: int = _MASK) -> Floats:
    """How much of the generated face shows, [size, size] in [0, 1] over the crop.

    0 in the upper half, outside of the outline and at the crop's edge; rising smoothly to 1 away from these.
    """
    inside = np.zeros((size + 2, size + 2), np.uint8)
    ring = _lowered(points_in_crop(outline, box, size), size) + 1
    cv2.fillPoly(inside, [np.round(ring * 16).astype(np.int32)], 1, lineType=cv2.LINE_8, shift=4)
    inside[[0, -1]] = 0  # the crop's edge is an edge of the mask
    inside[:, [0, -1]] = 0
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    below = np.arange(size) - size // 2
    return _ramp((depth - 1) / (FEATHER * size)) * _ramp(below / (HALF_FEATHER * size))[:, None]


def _ramp(place: NDArray[Any]) -> Floats:
    """0 up to 0, 1 from 1 on, smooth in between."""
    t = np.clip(place, 0, 1).astype(np.float32)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _lowered(ring: Points, size: int) -> Points:
    """The outline in crop pixels with its part below the middle moved down, the chin the most."""
    depth = np.clip((ring[:, 1] - size / 2) / (size / 2), 0, 1)
    lowered = ring.copy()
    lowered[:, 1] += depth * CHIN_ROOM * size
    return lowered


def _region(box: Box, width: int, height: int) -> Area | None:
    """The part of the picture that the crop's lower half covers; None if outside."""
    to_image = crop_to_image(box, 2)
    corners = np.array([[-0.5, 0.5], [1.5, 0.5], [1.5, 1.5], [-0.5, 1.5]])
    places = corners @ to_image[:, :2].T + to_image[:, 2]
    low = np.maximum(np.floor(places.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(places.max(axis=0)) + 1, (width, height)).astype(int)
    if (high <= low).any():
        return None
    return Area(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))


def _to_region(picture: NDArray[np.uint8], box: Box, region: Area, interpolation: int) -> NDArray[np.uint8]:
    """A square picture of the crop, laid over a part of the whole picture (the exact inverse of the crop)."""
    x, y, width, height = region
    from_image = image_to_crop(box, picture.shape[0])
    from_image[:, 2] += from_image[:, :2] @ (x, y)
    flags = interpolation | cv2.WARP_INVERSE_MAP
    placed = cv2.warpAffine(
        picture, from_image, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return placed.astype(np.uint8, copy=False)


def _at_most(face: Image, box: Box) -> Image:
    """The face averaged down to twice its size in the picture, where it is larger than that: no aliasing.

    Up to twice the size nothing is averaged: a crop of more pixels than its box has no finer detail than the
    picture that it was cut from, and averaging would blur what there is.
    """
    side = 2 * max(1, math.ceil(max(box.width, box.height)))
    if face.shape[0] <= side:
        return face
    return cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _colour_shift(old: Floats, new: Floats, alpha: Floats) -> Floats:
    """What to add to the new pixels [h, w, 3] so that their colours meet the old ones at the rim.

    Differences are read where old and new mix, trusted the less the larger they are (a large one is a moved
    jaw, not a tint), and spread over the face by a normalised Gaussian.
    """
    height, width = alpha.shape
    scale = min(1.0, _COLOUR / max(height, width))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    share = cv2.resize(alpha, small, interpolation=cv2.INTER_AREA)
    difference = cv2.resize(old - new, small, interpolation=cv2.INTER_AREA)
    size = np.abs(difference).mean(axis=2)
    trust = 4 * share * (1 - share) / (1 + (size / _SAME_SKIN) ** 2)
    weights = cv2.GaussianBlur(trust, (0, 0), _SPREAD, borderType=cv2.BORDER_CONSTANT)
    sums = cv2.GaussianBlur(difference * trust[..., None], (0, 0), _SPREAD, borderType=cv2.BORDER_CONSTANT)
    shift = np.clip(sums / (weights[..., None] + 1e-4), -_STRONGEST, _STRONGEST)
    enlarged: Floats = cv2.resize(shift, (width, height), interpolation=cv2.INTER_LINEAR)
    return enlarged
