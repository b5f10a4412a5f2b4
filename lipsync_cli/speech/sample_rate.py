"""The one rate at which a front end or a network hears."""

from __future__ import annotations

from lipsync_cli.errors import MediaError
from lipsync_cli.interfaces import Waveform


def require_rate(waveform: Waveform, rate: int, hearing: str) -> None:
    """MediaError unless a waveform has this rate in Hz; hearing: how the message begins ("the mel is of")."""
    if waveform.sample_rate != rate:
        raise MediaError(
            f"{hearing} {rate} Hz, but this waveform has {waveform.sample_rate} Hz: load it at {rate} Hz"
        )
