from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation import paper, report
from lipsync_cli.evaluation.results import ClipResult, Evaluation, LeftOut, OpeningSeries, collect, compare
from lipsync_cli.evaluation.sync import SyncCurve, SyncSecond
from lipsync_cli.metrics.base import Summary
from lipsync_cli.metrics.sync import Offset


def _series() -> OpeningSeries:
    return OpeningSeries(np.array([0.0, 0.04]), np.array([0.125, 0.25]), np.array([math.nan, 0.5]))


def _evaluation() -> Evaluation:
    first = ClipResult("s1/a", {"ssim": 0.9, "psnr": 30.0, "offset": -1.0}, {}, n_frames=75, series=_series())
    second = ClipResult("b", {"ssim": 0.8, "psnr": 28.0}, {"sync": "b.mp4: silent"}, n_frames=70)
    return collect([first, second, LeftOut("c", "c.mp4: no frame of it has a face")])


def test_the_table_tells_each_figure_with_its_interval_and_what_was_left_out() -> None:
    lines = report.table(_evaluation())
    row = next(line for line in lines if line.startswith("psnr "))
    assert row.split()[1:6] == ["29.00", "28.00", "..", "30.00", "29.00"]
    assert "higher" in row
    assert "dB" in row
    text = "\n".join(lines)
    assert "2 clips measured, 1 left out" in text
    assert "c: c.mp4: no frame of it has a face" in text
    assert "sync: b.mp4: silent (1 clip)" in text


def test_a_long_list_of_reasons_is_cut_and_says_so() -> None:
    outcomes = [LeftOut(f"c{index:02d}", "no face") for index in range(20)]
    lines = report.table(collect([ClipResult("a", {"ssim": 1.0}, {}, n_frames=20), *outcomes]))
    assert any("and 8 more" in line for line in lines)


def test_the_json_has_metrics_clips_and_left_out_and_no_nan() -> None:
    values = json.loads(json.dumps(report.as_json(_evaluation(), {"device": "cpu"}), allow_nan=False))
    assert {"mean", "low", "high", "n"} <= set(values["metrics"]["ssim"])
    assert values["metrics"]["offset"]["n"] == 1
    assert [clip["clip"] for clip in values["clips"]] == ["b", "s1/a"]
    assert values["clips"][1]["series"]["real"] == [None, 0.5]
    assert {(each["clip"], each["what"]) for each in values["left_out"]} == {("c", "all"), ("b", "sync")}
    assert (values["n_clips"], values["n_left_out"]) == (2, 1)
    assert values["settings"] == {"device": "cpu"}
    assert values["versions"]["torch"] != "unknown"


def test_the_csv_has_a_row_for_every_clip_also_for_those_left_out() -> None:
    rows = list(csv.DictReader(report.as_csv(_evaluation()).splitlines()))
    assert [row["clip"] for row in rows] == ["b", "s1/a", "c"]
    assert rows[1]["offset"] == "-1.0"
    assert rows[0]["offset"] == ""
    assert "silent" in rows[0]["left_out"]
    assert rows[2]["left_out"] == "all: c.mp4: no frame of it has a face"


def test_the_openings_of_each_clip_go_to_a_file_of_its_name(tmp_path: Path) -> None:
    report.write_series(_evaluation().clips, tmp_path / "openings")
    text = (tmp_path / "openings" / "s1" / "a.csv").read_text()
    assert text == "time,generated,real\n0.0000,0.125000,\n0.0400,0.250000,0.500000\n"
    assert [path.name for path in (tmp_path / "openings").iterdir()] == ["s1"]


def test_a_single_video_is_told_second_by_second() -> None:
    curve = SyncCurve(
        Offset(2, 0.3, 0.8),
        np.zeros(31),
        0.5,
        [SyncSecond(0.0, 0.7, 2), SyncSecond(1.0, 0.1, None)],
        40,
    )
    lines = report.video_table(ClipResult("a", {"offset": 2.0}, {}, n_frames=50, sync=curve))
    assert lines[-1] == "no lse_c, lse_d: filled by --syncnet-v2 FILE (syncnet_v2.model)"
    lines.pop()
    assert lines[-2].split() == ["0", "0.700", "+2"]
    assert lines[-1].split() == ["1", "0.100", "-"]


def test_the_papers_table_has_its_numbers() -> None:
    rows = [line.split()[-7:] for line in paper.paper_tables()]
    assert ["0.95", "32.64", "3.83", "0.16", "1.13", "8.41", "6.03"] in rows  # table 1, LRS2
    assert ["0.92", "31.45", "4.46", "0.18", "1.22", "7.86", "6.24"] in rows  # table 1, LRW
    assert ["31.806", "0.905", "5.230", "1.365", "8.528", "5.838", "0.278"] in rows  # table 2, FR3


def test_places_that_cannot_be_written_are_told_before_the_work(tmp_path: Path) -> None:
    report.check_writable(tmp_path / "report.json")
    with pytest.raises(DataError, match="is a folder"):
        report.check_writable(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        report.check_writable(tmp_path / "absent" / "report.json")


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        report.write_text(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_the_papers_columns_say_what_would_fill_them() -> None:
    clips = [ClipResult("a", {"ssim": 0.9, "psnr": 30.0, "lmd_coordinates": 1.0}, {}, n_frames=20)]
    lines = paper.column_table(collect(clips))
    assert lines[0].split()[-7:] == list(paper.COLUMNS)
    assert lines[1].split()[-7:] == ["0.90", "30.00", "-", "-", "1.00", "-", "-"]
    assert lines[2:] == [
        "  no fid: filled by --inception FILE (pt_inception-2015-12-05-6726825d.pth)",
        "  no lse_c, lse_d: filled by --syncnet-v2 FILE (syncnet_v2.model)",
        "  no identity: filled by --identity FILE (face_recognition_sface_2021dec.onnx)",
    ]
    assert report.as_json(collect(clips), {})["not_measured"].keys() == {"fid", "lse_c, lse_d", "identity"}


def test_two_methods_are_told_apart_clip_by_clip(tmp_path: Path) -> None:
    ours = collect(
        [ClipResult(name, {"psnr": value}, {}, 20) for name, value in {"a": 30, "b": 35, "c": 40}.items()]
    )
    theirs = collect(
        [
            ClipResult(name, {"psnr": value - 2}, {}, 20)
            for name, value in {"a": 30, "b": 35, "c": 40, "d": 9}.items()
        ]
    )
    report.write_json(tmp_path / "theirs.json", report.as_json(theirs, {}))
    differences = compare(ours, report.read_figures(tmp_path / "theirs.json"))
    assert (differences["psnr"].mean, differences["psnr"].low, differences["psnr"].n) == (2.0, 2.0, 3)
    (line,) = report.difference_table(differences, "theirs")[2:]
    assert line.split()[:1] == ["psnr"]
    assert line.endswith("better")
    assert report.as_json(ours, {}, differences)["differences"]["psnr"]["mean"] == 2.0


@pytest.mark.parametrize(
    ("name", "low", "high", "expected"),
    [
        ("psnr", -2.0, -1.0, "worse"),
        ("lse_d", -2.0, -1.0, "better"),
        ("psnr", -1.0, 1.0, "no difference shown"),
        ("offset", 1.0, 2.0, "they differ"),
    ],
)
def test_a_difference_is_judged_by_its_interval_and_direction(
    name: str, low: float, high: float, expected: str
) -> None:
    summary = Summary((low + high) / 2, 0.0, low, high, 9)
    assert report.verdict(name, summary) == expected
    assert report.judged({name: summary, "real_opening_p95": summary}) == {name: summary}


def test_methods_without_a_common_clip_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="no clip in common"):
        compare(collect([ClipResult("a", {"psnr": 1.0}, {}, 20)]), {"b": {"psnr": 1.0}})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"clips": [{"clip": "a"}]}'])
def test_a_file_that_is_no_report_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(DataError, match="no report of lipsync eval"):
        report.read_figures(tmp_path / "other.json")
