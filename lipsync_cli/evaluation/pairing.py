"""Which frame of the real video belongs to which frame of the generated one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lipsync_cli.interfaces import Frame

_SLACK = 1e-4  # seconds: containers round time stamps


def pair_frames(
    reference: Iterable[Frame], generated: Iterable[Frame], *, tolerance: float
) -> Iterator[tuple[Frame | None, Frame]]:
    """Each generated frame with the real frame nearest in time, in order of time.

    None where no real frame lies within `tolerance` seconds (use half a frame of the real video). Of two
    equally near the earlier one. Holds three frames, whatever the lengths; frame rates may differ.
    """
    upcoming = iter(reference)
    nearest = next(upcoming, None)
    following = next(upcoming, None)
    for frame in generated:
        while following is not None and nearest is not None:
            if abs(following.time - frame.time) >= abs(nearest.time - frame.time):
                break
            nearest, following = following, next(upcoming, None)
        is_near = nearest is not None and abs(nearest.time - frame.time) <= tolerance + _SLACK
        yield (nearest if is_near else None), frame
