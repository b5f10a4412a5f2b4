from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation import report
from lipsync_cli.evaluation.results import ClipResult, Evaluation, LeftOut, OpeningSeries, collect
from lipsync_cli.evaluation.sync import SyncCurve, SyncSecond
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
    assert "sync: b.mp4: silent (1 clips)" in text


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
    assert lines[-2].split() == ["0", "0.700", "+2"]
    assert lines[-1].split() == ["1", "0.100", "-"]


def test_the_papers_table_has_its_numbers() -> None:
    assert any(line.split()[-7:] == ["0.95", "32.64", "3.83", "0.16", "1.13", "8.41", "6.03"]
               for line in report.paper_table())  # fmt: skip


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
