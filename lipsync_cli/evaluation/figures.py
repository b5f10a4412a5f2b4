"""The names of all figures of a clip: what each says, its unit, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """What one figure means."""

    says: str
    unit: str = ""
    better: Literal["higher", "lower", "one", "zero"] | None = None
    """`one`, `zero`: the nearer to that value the better. None: to compare by, neither good nor bad."""


_OF_THE_RUN = "one distance of all pictures of the run, no mean of clips, hence no interval"

FIGURES: Mapping[str, Figure] = {
    "ssim": Figure("SSIM of the whole 96x96 face crop", better="higher"),
    "psnr": Figure("PSNR of the whole 96x96 face crop", "dB", "higher"),
    "psnr_lower": Figure("PSNR of the crop's lower half", "dB", "higher"),
    "static_psnr_lower": Figure("the same for the real video's most closed frame pasted everywhere", "dB"),
    "psnr_gain": Figure("psnr_lower - static_psnr_lower", "dB", "higher"),
    "fid": Figure(
        f"FID of the 96x96 face crops, by the public Inception; {_OF_THE_RUN}",
        "squared feature units",
        "lower",
    ),
    "frechet_lips": Figure(
        f"Fréchet distance of lips as the sync network sees them, not FID; {_OF_THE_RUN}",
        "squared feature units",
        "lower",
    ),
    "ifc": Figure("inter-frame consistency, our formula", "grey levels", "lower"),
    "flicker_ratio": Figure("trembling over the real video's", better="one"),
    "lmd_sum": Figure("landmark distance, sum over the lip points, in the 96x96 crop", "pixels", "lower"),
    "lmd_coordinates": Figure("landmark distance, mean over coordinates, in the crop", "pixels", "lower"),
    "lse_c": Figure("LSE-C by the public SyncNet v2", "feature units", "higher"),
    "lse_d": Figure("LSE-D by the public SyncNet v2", "feature units", "lower"),
    "real_lse_c": Figure("LSE-C of the real video with its own sound", "feature units"),
    "real_lse_d": Figure("LSE-D of the real video with its own sound", "feature units"),
    "identity": Figure("cosine of SFace's features with the real video's", better="higher"),
    "opening_correlation": Figure("Pearson's r of the mouth openings with the real ones", better="higher"),
    "opening_amplitude": Figure("standard deviation of the openings over the real one", better="one"),
    "width_correlation": Figure("Pearson's r of the mouth widths with the real ones", better="higher"),
    "opening_p95": Figure("95th percentile of the mouth opening", "face heights"),
    "real_opening_p95": Figure("the same of the real video", "face heights"),
    "opening_ratio": Figure("opening_p95 / real_opening_p95", better="one"),
    "opening_minimum": Figure("5th percentile of the mouth opening", "face heights"),
    "real_opening_minimum": Figure("the same of the real video", "face heights"),
    "pause_opening": Figure("median mouth opening in the pauses of its sound", "face heights", "lower"),
    "real_pause_opening": Figure(
        "median mouth opening of the real video at the same moments", "face heights"
    ),
    "speech_opening": Figure("median mouth opening outside of the pauses", "face heights"),
    "pause_ratio": Figure("pause_opening / real_opening_p95", better="lower"),
    "sharpness_96": Figure("mouth sharpness over the real one's, in the 96x96 crop", better="one"),
    "sharpness_native": Figure(
        "mouth sharpness over the real one's, in the video's own pixels", better="one"
    ),
    "offset": Figure(
        "AV offset: the picture at t matches the sound at t + offset", "frames at 25 fps", "zero"
    ),
    "offset_within_1": Figure(
        "1 where the AV offset is -1, 0 or 1, else 0; chance does so too, so `in_sync` where there is a real "
        "video",
        better="higher",
    ),
    "in_sync": Figure(
        "1 where the AV offset is -1, 0 or 1 with half of the real video's confidence or more, else 0",
        better="higher",
    ),
    "confidence": Figure("sync score at that offset above the median of all offsets", better="higher"),
    "sync_score": Figure("sync score without any shift", better="higher"),
    "real_offset": Figure("AV offset of the real video with its own sound", "frames at 25 fps"),
    "real_confidence": Figure("confidence of the real video with its own sound"),
    "real_sync_score": Figure("sync score of the real video with its own sound"),
}
"""In the order of reports: the columns of the paper's table 1 first."""

_SYNCNET = "--syncnet-v2 FILE (syncnet_v2.model)"
FILLED_BY: Mapping[str, str] = {
    "fid": "--inception FILE (pt_inception-2015-12-05-6726825d.pth)",
    "lse_c": _SYNCNET,
    "lse_d": _SYNCNET,
    "identity": "--identity FILE (face_recognition_sface_2021dec.onnx)",
}
"""What fills a column whose network users bring themselves."""


def empty_columns(known: Iterable[str], names: Iterable[str] = tuple(FILLED_BY)) -> dict[str, str]:
    """Columns without a figure -> what fills them, those that have one remedy joined: "lse_c, lse_d"."""
    present, by_remedy = set(known), dict[str, list[str]]()
    for name in names:
        if name not in present:
            by_remedy.setdefault(FILLED_BY[name], []).append(name)
    return {", ".join(columns): remedy for remedy, columns in by_remedy.items()}
