from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import atexit, gc, sys
atexit.register(lambda: print("frozen", gc.get_freeze_count() > 0))  # handlers run from the last one back
from lipsync_cli.interpreter import suit_a_program
suit_a_program()
print("turn", sys.getswitchinterval(), "enabled", gc.isenabled())
class Cycle:
    def __init__(self):
        self.me = self
    def __del__(self):
        print("cleared")
Cycle()
rest = [[] for _ in range(250_000)]
print("end")
"""


def test_a_program_still_clears_cycles_but_not_at_its_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["turn 0.0005 enabled True", "cleared", "end", "frozen True"]
