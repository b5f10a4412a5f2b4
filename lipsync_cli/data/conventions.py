"""How caches are made today, and whether one was made so: networks know no other mels and crops."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from lipsync_cli.data.layout import FRAMES_PER_SECOND, CacheSettings
from lipsync_cli.errors import DataError
from lipsync_cli.faces import track
from lipsync_cli.speech import embedding_mel
from lipsync_cli.speech.mel import MelSettings

_OF_THE_CORPUS = ("image_size", "offsets")  # what the user chooses when preparing


def todays_settings(**chosen: Any) -> CacheSettings:
    """Of a cache that is made now; chosen: `image_size` and `offsets`, which are the user's.

    Raises SettingsError for what cannot be.
    """
    mel = MelSettings()
    return CacheSettings(
        sample_rate=mel.sample_rate,
        frames_per_second=FRAMES_PER_SECOND,
        mel_hop=mel.hop,
        mel_window=mel.n_fft,
        mel_bins=mel.n_mels,
        mel_lowest=mel.lowest,
        mel_highest=mel.highest,
        mel_pre_emphasis=mel.pre_emphasis,
        embedding_hop=embedding_mel.HOP,
        embedding_window=embedding_mel.N_FFT,
        embedding_bins=embedding_mel.N_BINS,
        crop_top_margin=track.TOP_MARGIN,
        crop_chin_margin=track.CHIN_MARGIN,
        crop_smoothing=track.SMOOTHING,
        crop_centre="features",  # by `faces.centring`
        **chosen,
    )


def differing(made_with: CacheSettings) -> list[str]:
    """Each setting by which a cache differs from those of today, with both values."""
    today = todays_settings()
    return [
        f"{field.name} {getattr(made_with, field.name)} (here {getattr(today, field.name)})"
        for field in fields(CacheSettings)
        if field.name not in _OF_THE_CORPUS and getattr(made_with, field.name) != getattr(today, field.name)
    ]


def require_todays(cache: Path, made_with: CacheSettings) -> None:
    """DataError for a cache whose mels or crops are not those that networks here see and hear."""
    others = differing(made_with)
    if others:
        raise DataError(
            f"{cache} was made with {', '.join(others)}: networks here see and hear otherwise; prepare into "
            "a new folder"
        )
