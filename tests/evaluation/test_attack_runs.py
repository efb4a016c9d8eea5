"""Runs together: what attacks are called, runs at work, and measuring their files."""

import pytest
import torch
from tests.evaluation.attack_world import NAMES, grey, lit, originals, write_attacks
from torch import nn

from percert.evaluation.attack_runs.distances import measure_distances, measure_run
from percert.evaluation.attack_runs.read import read_attack_runs
from percert.images import load_image, save_image
from percert.metrics.catalog import create_metric
from percert.reports import read_records, write_records
from percert.runs import RecordedMetric

pytest.importorskip("pyarrow", reason="needs the extra 'attacks'")


class Counting(nn.Module):
    """The l1 distance; notes how many pairs it was asked for."""

    def __init__(self):
        super().__init__()
        self.pairs = 0

    def forward(self, reference, candidate):
        self.pairs += len(candidate)
        return (candidate - reference).abs().sum((1, 2, 3))


@pytest.fixture
def images(tmp_path):
    return originals(tmp_path / "images")


@pytest.fixture
def run(tmp_path, images):
    return write_attacks(
        tmp_path / "run",
        images,
        {
            "ascent": {name: grey(140 + i) for i, name in enumerate(NAMES)},
            "pgd": {"a.png": lit(100, 8, 200), "b.png": None},
        },
    )


def test_attacks_of_several_runs_are_told_apart(tmp_path, images):
    def made(name, **more):
        return write_attacks(tmp_path / name, images, {"pgd": {"a.png": grey(200)}}, **more)

    plain, sure, again = made("x"), made("y", confidence=5.0), made("z")
    assert read_attack_runs([plain]).attacks == ["pgd"]
    assert read_attack_runs([plain, sure]).attacks == ["pgd", "pgd (a = 5)"]
    three = read_attack_runs([plain, sure, again])
    assert three.attacks == ["pgd [x]", "pgd (a = 5)", "pgd [z]"]
    assert [row["spec"] for row in three.rows] == ["pgd"] * 3
    assert [row["demand"] for row in three.rows] == [0.0, 5.0, 0.0]
    assert (three.images, three.goal, three.over) == (images, "classifier", "success_8bit")
    twin = made("deeper/x")
    assert read_attack_runs([plain, twin]).attacks == [f"pgd [{plain}]", f"pgd [{twin}]"]


def test_a_run_at_work_is_read_as_far_as_it_is(run):
    rows = read_records(run / "records.parquet")
    columns = {name: type(value) for name, value in rows[0].items() if value is not None}
    columns |= {"target": int, "within_threat": bool, "within_threat_8bit": bool}
    columns |= dict.fromkeys(("margin", "margin_8bit"), float)
    columns = {name: columns.get(name, int) for name in rows[0]}
    parts = run / "records.parts"
    parts.mkdir()
    newer = {**rows[0], "l2": 7.0}
    write_records(parts / "00000001-x.parquet", [newer], columns)
    (run / "records.parquet").rename(parts / "00000000-x.parquet")
    found = read_attack_runs([run])
    assert len(found.rows) == len(rows)
    assert next(row["l2"] for row in found.rows if row["image"] == "a.png") == 7.0


def test_a_run_that_merges_while_it_is_read_is_read_again(run, monkeypatch):
    parts = run / "records.parts"
    parts.mkdir()
    (run / "records.parquet").rename(parts / "00000001-x.parquet")

    def merging(path):
        if parts.exists():
            (parts / "00000001-x.parquet").rename(run / "records.parquet")
            parts.rmdir()
        return read_records(path)

    monkeypatch.setattr("percert.evaluation.attack_runs.read.read_records", merging)
    assert len(read_attack_runs([run]).rows) == 6


def test_what_is_no_run_is_said(tmp_path, run, images):
    with pytest.raises(ValueError, match=r"no records\.parquet in it"):
        read_attack_runs([tmp_path])
    write_records(tmp_path / "records.parquet", [{"image": "a"}], {"image": str})
    with pytest.raises(ValueError, match="not records of percert attack, no column 'attack'"):
        read_attack_runs([tmp_path])
    other = write_attacks(tmp_path / "t", images, {"pgd": {"a.png": None}}, goal="embedding")
    with pytest.raises(ValueError, match="expected one goal, found classifier and embedding"):
        read_attack_runs([run, other])
    assert read_attack_runs([other]).over == "attacked"


def test_distances_are_those_of_the_files_one_by_one(run, images, tmp_path):
    metrics = {name: create_metric(name, device="cpu") for name in ("gmsd", "l2")}
    rows = measure_run(run, images, metrics, tmp_path / "out")
    assert len(rows) == 6
    for row in rows:
        if row["success_8bit"]:
            pair = load_image(images / row["image"])[None], load_image(run / row["file"])[None]
            for name, metric in metrics.items():
                assert row[name] == pytest.approx(metric(*pair).item(), rel=1e-6)
        else:
            assert row["gmsd"] is None


def test_nothing_is_measured_twice_but_what_changed(run, images, tmp_path):
    counting = Counting()
    measures = {"l1": RecordedMetric(counting)}
    read = read_attack_runs([run]).rows
    first = measure_distances(read, images, measures, tmp_path / "out")
    assert counting.pairs == 5
    assert measure_distances(read, images, measures, tmp_path / "out") == first
    assert counting.pairs == 5
    # Another checkpoint of the same metric, another metric, and another file are measured.
    measure_distances(read, images, measures, tmp_path / "out", how={"l1": "other.pt"})
    assert counting.pairs == 10
    measure_distances(read, images, measures, tmp_path / "out", how={"l1": "other.pt"})
    measure_distances(read, images, {"new": RecordedMetric(counting)}, tmp_path / "out")
    assert counting.pairs == 15
    save_image(grey(255), run / "1" / "a.png")
    again = measure_distances(read, images, {"new": RecordedMetric(counting)}, tmp_path / "out")
    assert counting.pairs == 16
    assert again[0]["new"] == pytest.approx(3 * 256 * 155 / 255, rel=1e-5)


def test_what_was_measured_before_a_stop_is_kept(run, images, tmp_path):
    class Stopping(Counting):
        def forward(self, reference, candidate):
            if self.pairs >= 3:
                raise KeyboardInterrupt
            return super().forward(reference, candidate)

    read = read_attack_runs([run]).rows
    with pytest.raises(KeyboardInterrupt):
        measure_distances(read, images, {"l1": RecordedMetric(Stopping())}, tmp_path / "out")
    going_on = Counting()
    rows = measure_distances(read, images, {"l1": RecordedMetric(going_on)}, tmp_path / "out")
    assert going_on.pairs == 2  # of 5: three were there
    assert all(row["l1"] > 0 for row in rows if row["success_8bit"])


def test_a_run_without_images_has_its_own_distances(run, images, tmp_path):
    read = [{**row, "path": None} for row in read_attack_runs([run]).rows]
    assert measure_distances(read, images, {}, tmp_path / "out") == read


def test_an_image_too_small_for_a_metric_has_no_distance(run, images, tmp_path):
    measures = {"l1": RecordedMetric(Counting(), smallest_side=17)}
    rows = measure_distances(read_attack_runs([run]).rows, images, measures, tmp_path / "out")
    assert {row["l1"] for row in rows} == {None}


def test_missing_images_are_named(run, images, tmp_path):
    measures = {"l1": RecordedMetric(Counting())}
    read = read_attack_runs([run]).rows
    (run / "1" / "c.png").rename(run / "1" / "elsewhere.png")
    with pytest.raises(ValueError, match=r"1/c\.png: no such file"):
        measure_distances(read, images, measures, tmp_path / "out")
    with pytest.raises(ValueError, match="keeps no images of ascent"):
        measure_distances(
            [{**row, "path": None} for row in read], images, measures, tmp_path / "out"
        )
    (images / "a.png").unlink()
    with pytest.raises(ValueError, match=r"has no image 'a\.png'"):
        measure_distances(read, images, measures, tmp_path / "out")


def test_an_image_of_another_size_is_refused(run, images, tmp_path):
    save_image(torch.zeros(3, 8, 8), images / "a.png")
    with pytest.raises(ValueError, match="expected an image of its original's shape"):
        measure_distances(
            read_attack_runs([run]).rows,
            images,
            {"l1": RecordedMetric(Counting())},
            tmp_path / "out",
        )
