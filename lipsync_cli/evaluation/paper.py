"""The paper's tables 1 and 2, and what was measured here in the order of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lipsync_cli.evaluation.figures import empty_columns
from lipsync_cli.evaluation.report import aligned
from lipsync_cli.evaluation.results import Evaluation
from lipsync_cli.metrics.base import Summary

COLUMNS = ("ssim", "psnr", "fid", "ifc", "lmd", "lse_c", "lse_d")
"""Of table 1."""
_OURS = {"lmd": "lmd_coordinates"}
"""Columns that have another name here."""
TABLE_1: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "LRS2": {
        "Wav2Lip": (0.86, 26.53, 7.05, 0.21, 2.38, 7.59, 6.75),
        "PC-AVS": (0.73, 28.24, 18.40, 0.46, 1.93, 6.41, 7.52),
        "EAMM": (0.69, 21.01, 84.65, 0.51, 3.54, 3.31, 9.93),
        "VideoReTalking, restored": (0.84, 25.58, 9.28, 0.22, 2.61, 7.49, 6.82),
        "DINet": (0.78, 24.35, 4.26, 0.25, 2.30, 5.37, 8.37),
        "TalkLip": (0.86, 26.11, 4.94, 0.24, 2.34, 8.53, 6.08),
        "IPLAP": (0.87, 29.67, 4.10, 0.20, 2.11, 6.49, 7.16),
        "the paper, not restored": (0.95, 32.64, 3.83, 0.16, 1.13, 8.41, 6.03),
        "the paper, with VQFR": (0.90, 31.80, 5.23, 0.27, 1.36, 8.52, 5.83),
    },
    "LRW": {
        "Wav2Lip": (0.85, 25.14, 6.81, 0.20, 2.14, 7.49, 6.51),
        "PC-AVS": (0.81, 32.25, 14.27, 0.38, 1.42, 6.53, 7.15),
        "EAMM": (0.71, 26.22, 44.16, 0.48, 2.61, 4.32, 9.04),
        "VideoReTalking, restored": (0.87, 27.11, 5.30, 0.23, 2.39, 6.59, 7.12),
        "DINet": (0.88, 27.50, 8.17, 0.22, 1.96, 5.24, 9.09),
        "TalkLip": (0.86, 26.34, 15.73, 0.26, 1.83, 7.28, 6.48),
        "IPLAP": (0.91, 30.45, 8.40, 0.21, 1.64, 5.94, 7.76),
        "the paper, not restored": (0.92, 31.45, 4.46, 0.18, 1.22, 7.86, 6.24),
        "the paper, with VQFR": (0.90, 30.21, 7.05, 0.21, 1.41, 7.92, 6.00),
    },
}
TABLE_2: Mapping[str, tuple[float, ...]] = {
    "A, lip-sync loss": (26.349, 0.853, 12.25, 2.408, 7.116, 7.396, 0.221),
    "B, A + audio encoder of SyncNet": (26.614, 0.868, 9.82, 2.325, 7.271, 7.106, 0.233),
    "C, A + audio encoder of Wav2Vec2": (26.590, 0.869, 10.56, 2.278, 7.220, 7.158, 0.228),
    "D, B + silent-lip generator": (27.180, 0.872, 8.16, 1.741, 7.752, 6.413, 0.221),
    "E, D with stabilized loss": (31.166, 0.925, 5.27, 1.140, 8.370, 6.032, 0.174),
    "F, E + vanilla triplet": (30.658, 0.917, 6.24, 1.250, 8.260, 6.176, 0.183),
    "G, E + adaptive triplet": (32.755, 0.949, 4.02, 1.135, 8.382, 6.057, 0.163),
    "H, G with AVSyncNet": (32.640, 0.952, 3.83, 1.130, 8.410, 6.037, 0.160),
    "FR1, H + GPEN": (28.991, 0.919, 58.77, 1.197, 7.625, 6.457, 0.192),
    "FR2, H + GFPGAN": (31.169, 0.916, 13.07, 1.219, 7.624, 6.496, 0.214),
    "FR3, H + VQFR": (31.806, 0.905, 5.23, 1.365, 8.528, 5.838, 0.278),
}
COLUMNS_2 = ("psnr", "ssim", "fid", "lmd", "lse_c", "lse_d", "ifc")
"""Of table 2."""


def column_table(evaluation: Evaluation) -> list[str]:
    """Lines for a terminal: the means in the order of the paper's table 1; what fills an empty column."""
    cells = column_cells(evaluation.figures)
    lines = aligned([("the paper's columns", *COLUMNS, ""), ("these clips", *cells, "")])
    empty = empty_columns(evaluation.figures)
    return lines + [f"  no {columns}: filled by {remedy}" for columns, remedy in empty.items()]


def column_cells(known: Mapping[str, Summary], columns: Sequence[str] = COLUMNS) -> list[str]:
    """The means in the order of columns of the paper; '-' where there is none."""
    names = [_OURS.get(column, column) for column in columns]
    return [f"{known[name].mean:.2f}" if name in known else "-" for name in names]


def paper_tables() -> list[str]:
    """Lines for a terminal: tables 1 and 2. To look at: other people, crops and definitions than here."""
    lines: list[str] = []
    for corpus, methods in TABLE_1.items():
        rows: list[tuple[str, ...]] = [(f"paper, table 1, {corpus}", *COLUMNS, "")]
        rows += [(name, *(f"{value:.2f}" for value in values), "") for name, values in methods.items()]
        lines += [*aligned(rows), ""]
    rows = [("paper, table 2, LRS2", *COLUMNS_2, "")]
    rows += [(name, *(f"{value:.3f}" for value in values), "") for name, values in TABLE_2.items()]
    return lines + aligned(rows)
