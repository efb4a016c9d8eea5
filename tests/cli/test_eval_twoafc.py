"""``percert eval twoafc`` and ``percert eval stability``, on small folders."""

import json

import numpy as np
import pytest
from tests.data.test_night import night
from tests.evaluation.twoafc_images import picture

from percert.images import save_image
from percert.reports import read_records, read_run

pytest.importorskip("pyarrow", reason="needs the extra 'report'")
pytest.importorskip("jinja2", reason="needs the extra 'report'")
pytest.importorskip("matplotlib", reason="needs the extra 'report'")


@pytest.fixture
def nights(tmp_path):
    """Four triplets of the test split; of two each, the reference's class is one of ImageNet's."""
    folder = tmp_path / "nights"
    (folder / "ref" / "000").mkdir(parents=True)
    (folder / "distort" / "000").mkdir(parents=True)
    for i in range(4):
        reference = picture(3 * i)
        near = reference + 0.05 * (picture(3 * i + 1) - reference)
        far = reference + 0.9 * (picture(3 * i + 2) - reference)
        sides = (near, far) if i % 2 == 0 else (far, near)
        save_image(reference, folder / "ref" / "000" / f"{i:03d}.png")
        for side, image in enumerate(sides):
            save_image(image, folder / "distort" / "000" / f"{i:03d}_{side}.png")
    return night(folder, [(i, 1 - i % 2, i % 2, 6, "cat", "test", i < 2) for i in range(4)])


def command(nights, out, *more):
    return (
        *("eval", "twoafc", nights, "--metric", "thumbnail", "--out", out, "--device", "cpu"),
        *("--attack", "apgd-ce:steps=5", "--l2", "0.05,5", *more),
    )


def test_night_is_scored_reported_and_taken_up_again(nights, tmp_path, percert_json, percert):
    out = tmp_path / "out"
    (answer,) = percert_json(*command(nights, out, "--limit", "2"))["metrics"]
    assert [(group["name"], group["triplets"]) for group in answer["scores"]] == [("all", 2)]
    first = (out / "records.parquet").stat().st_mtime_ns
    rows = read_records(out / "records.parquet")
    assert len(rows) == 2 * 3
    (answer,) = percert_json(*command(nights, out))["metrics"]
    groups = {group["name"]: group for group in answer["scores"]}
    counts = {name: group["triplets"] for name, group in groups.items()}
    assert counts == {"all": 4, "imagenet": 2, "other": 2}
    everything = groups["all"]
    assert everything["natural"] == 1
    near, far = everything["attacked"]
    assert near["worst"] >= near["certified"]
    assert far["worst"] < 1
    assert [entry["eps"] for entry in everything["certified"]] == pytest.approx(
        [36 / 255, 72 / 255, 108 / 255]
    )
    counted = [(entry["eps"], entry["images"]) for entry in answer["violations"]]
    assert counted == [(0.05, 4), (5.0, 4)]
    again = read_records(out / "records.parquet")
    assert [row for row in again if row in rows] == rows  # kept, not made anew
    assert (out / "records.parquet").stat().st_mtime_ns > first
    assert json.loads((out / "scores.json").read_text()) == answer
    assert read_run(out)["finished"] is True
    page = (out / "report.html").read_text()
    for said in (
        "imagenet",
        "Proposition 1",
        "certified &lt;= empirical &lt;= natural",
        "data:image/png",
    ):
        assert said in page
    said = percert(*command(nights, out)).stdout
    assert "worst of all" in said
    assert "natural" in said


def test_several_metrics_stand_side_by_side(nights, tmp_path, percert_json, percert):
    out = tmp_path / "out"
    words = command(nights, out, "--metric", "mse", "--eps", "0.1")
    answer = percert_json(*words)
    ours, mse = answer["metrics"]
    assert (ours["metric"], mse["metric"]) == ("thumbnail", "mse")
    (alone,) = percert_json(*command(nights, tmp_path / "alone", "--eps", "0.1"))["metrics"]
    assert ours == {**alone, "out": str(out / "thumbnail")}
    assert json.loads((out / "scores.json").read_text()) == answer
    for name in ("thumbnail", "mse"):
        assert read_run(out / name)["finished"] is True
        assert (out / name / "report.html").is_file()
    page = (out / "report.html").read_text()
    for said in ("imagenet", "Certified scores in percent", "worst of all", "mse"):
        assert said in page
    assert "Scores in percent under attack" in percert(*words).stdout


def test_a_folder_with_another_run_is_refused(nights, tmp_path, percert):
    out = tmp_path / "out"
    percert(*command(nights, out, "--limit", "1"))
    said = percert(*command(nights, out, "--perturbed", "all"), exit_code=1)
    assert "holds a run with perturbed 'reference'" in said.stderr


def test_all_three_images_move_and_sizes_are_set(nights, tmp_path, percert_json):
    answer = percert_json(
        *command(nights, tmp_path / "out", "--perturbed", "all", "--size", "12", "--limit", "1"),
        *("--linf", "0.01"),
    )
    assert [
        (entry["norm"], entry["eps"]) for entry in answer["metrics"][0]["scores"][0]["attacked"]
    ] == [*(("l2", 0.05), ("l2", 5), ("linf", 0.01))]
    rows = read_records(tmp_path / "out" / "records.parquet")
    assert {(row["height"], row["width"]) for row in rows} == {(12, 12)}


def test_bapps_counts_the_judges(tmp_path, percert_json):
    place = tmp_path / "2afc" / "val" / "cnn"
    for part, seed in (("ref", 0), ("p0", 1), ("p1", 2)):
        (place / part).mkdir(parents=True)
        image = picture(0) if part == "ref" else 0.9 * picture(0) + 0.1 * picture(seed)
        save_image(picture(0) if part == "p0" else image, place / part / "000000.png")
    (place / "judge").mkdir()
    np.save(place / "judge" / "000000.npy", np.array([0.2]))
    answer = percert_json(
        *("eval", "twoafc", tmp_path, "--metric", "ssim", "--size", "24", "--out", tmp_path / "o"),
        *("--device", "cpu"),
    )
    (scores,) = (entry["scores"] for entry in answer["metrics"])
    assert scores[0]["natural"] == pytest.approx(0.8)
    assert scores[0]["certified"][0]["ours"] is None


def test_triplets_are_made_of_photographs_and_bad_ones_are_told(tmp_path, percert):
    (tmp_path / "photos").mkdir()
    save_image(picture(0, 24), tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.png").write_text("no image")
    said = percert(
        *("eval", "twoafc", tmp_path / "photos", "--metric", "mse", "--distortion", "noise"),
        *("--out", tmp_path / "o", "--device", "cpu"),
        exit_code=1,
    )
    assert "100.00" in said.stdout
    assert "b.png: " in said.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--eps", "x"), "expected an l2 length such as 4 or 36/255"),
        (("--size", "0"), "expected H or HxW"),
        (("--attack", "fab", "--perturbed", "all"), "cannot move several images"),
        (("--split", "tset"), "split"),
        (("--attack", "nothing"), "unknown name 'nothing'"),
        (("--metric", "thumbnail"), "given twice"),
        (("--metric", "ssmi"), "did you mean 'ssim'"),
        (("--metric", "ssim", "--checkpoint", "x"), "for a single metric"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(nights, tmp_path, percert, more, message):
    said = percert(*command(nights, tmp_path / "out", *more), exit_code=1)
    assert message in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1


def test_stability_of_two_metrics(tmp_path, percert_json):
    (tmp_path / "photos").mkdir()
    for i in range(2):
        save_image(picture(i, 24), tmp_path / "photos" / f"{i}.png")
    answer = percert_json(
        *("eval", "stability", tmp_path / "photos", "--metric", "thumbnail", "--metric", "ssim"),
        *("--l2", "0.5", "--steps", "3", "--out", tmp_path / "out", "--device", "cpu"),
    )
    assert [(entry["metric"], entry["images"]) for entry in answer["moved"]] == [
        *(("thumbnail", 2), ("ssim", 2))
    ]
    assert 0 < answer["moved"][0]["bound_reached"] <= 1
    assert answer["moved"][1]["bound_reached"] is None
    assert {entry["violations"] for entry in answer["violations"]} == {0}
    assert "Proposition 1" in (tmp_path / "out" / "report.html").read_text()
    assert len(read_records(tmp_path / "out" / "records.parquet")) == 4
