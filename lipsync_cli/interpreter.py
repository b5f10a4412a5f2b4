"""How Python shares its time between threads and clears up; the only place that changes it."""

from __future__ import annotations

import atexit
import gc
import sys

_TURN = 0.0005
_YOUNG, _MIDDLE, _OLD = 200_000, 30, 30


def suit_a_program() -> None:
    """For programs, once at their start; a library leaves the process as it is.

    A thread that wants to go on after work in a library waits for others that run Python for half a
    millisecond, not for five: while torch is imported, the rest stood still. Cycles are looked for seldom,
    because imports make hundreds of thousands of objects that all stay, and at the end not at all: what is
    there then goes with the process. A dub of 20 s ends 0.5 s sooner for that, and begins 0.3 s sooner.
    """
    sys.setswitchinterval(_TURN)
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    atexit.register(gc.freeze)
