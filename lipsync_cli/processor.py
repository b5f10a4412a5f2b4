"""What the processor has; asked without torch, whose loading takes over a second."""

from __future__ import annotations

import os

_AVX512F = 13  # OpenCV's number for it (CV_CPU_AVX_512F)


def has_avx512() -> bool:
    """Whether the processor computes with AVX-512 (then it also does with AVX2)."""
    import cv2

    return bool(cv2.checkHardwareSupport(_AVX512F))


def cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
