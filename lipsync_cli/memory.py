"""How the C library hands freed memory back to the system; the only place that changes it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

_MIB = 1024 * 1024
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # numbers of glibc's malloc.h
_SETTINGS = ((_MMAP_THRESHOLD, 32 * _MIB), (_TRIM_THRESHOLD, 128 * _MIB), (_ARENA_MAX, 1))


def keep_freed_memory() -> bool:
    """Let this process keep what it frees for what it needs next, as pictures of one size come and go.

    glibc gives blocks of some MB back to the system at once and gets them again for the next frame, and the
    system clears them page by page: a fifth of the time of a dub at 1080p. Afterwards up to 128 MiB of
    freed memory stay, in one pool: others would be given back in blocks of 64 MiB whatever is set. For
    programs, once at their start; a library leaves the process as it is.

    Returns:
        Whether it was done: False where the C library is not glibc, which this is for.
    """
    change = _of_glibc("mallopt")
    return change is not None and all([change(number, value) == 1 for number, value in _SETTINGS])


def give_back_freed_memory() -> bool:
    """Give the system what this process has freed and keeps, now: whole pages, wherever they lie.

    In between blocks that stay, freed memory splits into pieces that fit less and less, so that a process
    which keeps it grows on for minutes. Now and then is enough, and costs some ms each time.

    Returns:
        Whether anything was given back: False where the C library is not glibc.
    """
    trim = _of_glibc("malloc_trim")
    return trim is not None and trim(0) == 1


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library, None where it has none of this name: musl has neither of them.

    Where another allocator is preloaded, its own answers.
    """
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
