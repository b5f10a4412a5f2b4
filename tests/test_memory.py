from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from lipsync_cli.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def pictures():
    for _ in range(20):
        held = [bytearray(3_000_000) for _ in range(10)]
        del held
with ThreadPoolExecutor(1) as pool:
    pool.submit(pictures).result()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""

GIVEN_BACK = """
from pathlib import Path
from lipsync_cli.memory import give_back_freed_memory, keep_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
assert keep_freed_memory()
held = [(bytearray(100_000), bytearray(1000)) for _ in range(1000)]
held = [small for _, small in held]
before = resident()
assert give_back_freed_memory()
print(before - resident())
"""

has_glibc = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


def page_faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True, timeout=120
    )
    return int(done.stdout)


@pytest.mark.skipif(not has_glibc, reason="only glibc gives memory back block by block")
def test_memory_of_a_picture_is_not_fetched_anew_for_each_picture() -> None:
    assert page_faults("keep") < page_faults("leave") / 4


@pytest.mark.skipif(not has_glibc, reason="only glibc keeps memory")
def test_freed_memory_between_blocks_that_stay_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) > 80_000_000  # of 100 MB
