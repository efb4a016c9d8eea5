"""``percert audit groups``: tables and models in; tests, words, JSON and a report out."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from percert.audit import groups as percert_groups
from percert.images import save_image
from percert.reports.records import write_run

GROUPS = ["AA", "BB", "CC", "DD", "NA"]
SIZE = 60


def predictions(slope, models=1, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        (f"m{model}", f"{group}{image}", group, int(rng.random() < 0.6 + slope * place))
        for model in range(models)
        for place, group in enumerate(GROUPS)
        for image in range(SIZE if group != "DD" else 20)
    ]
    return pd.DataFrame(rows, columns=["model", "image", "group", "correct"])


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    predictions(0.09).drop(columns="model").to_csv(folder / "one.csv", index=False)
    predictions(0.05, 3, 1).to_parquet(folder / "ours.parquet")
    predictions(0.09, 3, 2).to_parquet(folder / "pgd.parquet")
    pd.DataFrame(
        {"group": GROUPS, "log_gdp": [7.0, 8.0, 9.0, 10.0, 11.0], "other": [3.0, 1, 2, 1, 3]}
    ).to_csv(folder / "attributes.csv", index=False)
    return folder


def arguments(tables, name="one.csv", *more):
    return (
        "audit", "groups", tables / name, "--attributes", tables / "attributes.csv",
        "--attribute", "log_gdp", "--draws", "20", *more,
    )  # fmt: skip


def test_the_json_has_what_it_says(tables, percert_json):
    found = percert_json(*arguments(tables))
    assert [row["group"] for row in found["groups"]] == ["AA", "BB", "CC", "NA"]
    assert found["groups"][3]["attribute"] == 11.0
    assert found["left_out"] == [{"group": "DD", "n": 20, "reason": "fewer than 50 images"}]
    first = found["models"][0]
    assert (first["model"], first["covariance"], first["df"]) == ("one", "between", [1.0, 2.0])
    assert first["null"].startswith("Across the groups")
    assert first["interval"][0] < first["slope"] < first["interval"][1]
    assert found["comparison"] == {}


def test_people_get_words(tables, percert):
    said = percert(*arguments(tables)).stdout
    for words in ("Left out, 1 groups: DD", "Null hypothesis", "What may not: Not that log_gdp"):
        assert words in said
    assert "worst_group_accuracy" in said


def test_sets_are_compared_and_reported(tables, percert, tmp_path):
    result = percert(
        *arguments(tables, "ours.parquet", "--against", tables / "pgd.parquet"),
        *("--pretrained", tables / "one.csv", "--attribute", "other", "--out", tmp_path / "out"),
    )
    assert "paired t-test, one-sided" in result.stdout
    assert "The mean slope of ours is at least that of pgd." in result.stdout
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert found["comparison"]["paired"]["df"] == [2.0]
    assert set(found["details"]["comparisons"]) == {"log_gdp", "other"}
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["settings"]["smallest"] == 50
    assert "slopes-on-log-gdp.png" in {path.name for path in (tmp_path / "out").iterdir()}
    report = (tmp_path / "out" / "report.html").read_text()
    assert "pgd" in report
    assert "To make it again: percert" in report
    records = pd.read_parquet(tmp_path / "out" / "records.parquet")
    assert len(records) == 7 * 4


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--covariance", "papers"], "expected one of between, paper"),
        (["--attribute", "gdp"], "no attribute 'gdp'"),
        (["--min-size", "1000"], "no group is left"),
        (["--column", "group=land"], "no column 'land'"),
        (["--confidence", "2"], "confidence"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_one_line(tables, percert, more, said):
    (line,) = percert(*arguments(tables, "one.csv", *more), exit_code=1).stderr.splitlines()
    assert said in line


def test_bad_tables_are_one_line(tables, percert, tmp_path):
    frame = predictions(0.09)
    pd.concat([frame, frame[:1]]).to_csv(tmp_path / "twice.csv", index=False)
    cases = {"twice.csv": "duplicate images: 'AA0'", "absent.csv": "absent.csv"}
    frame.assign(correct="").to_csv(tmp_path / "empty.csv", index=False)
    cases["empty.csv"] = "have no correct"
    frame.assign(group=frame["group"] + "x").to_csv(tmp_path / "other.csv", index=False)
    cases["other.csv"] = "have no attribute"
    for name, said in cases.items():
        words = list(arguments(tables))
        words[2] = tmp_path / name
        (line,) = percert(*words, exit_code=1).stderr.splitlines()
        assert said in line


def test_neither_attributes_nor_three_groups_are_needed(tables, percert, tmp_path):
    frame = predictions(0.09)
    frame[frame["group"] < "CC"].to_csv(tmp_path / "two.csv", index=False)
    said = " ".join(percert("audit", "groups", tmp_path / "two.csv").stdout.split())
    assert "BB less AA is" in said
    said = " ".join(percert("audit", "groups", tables / "one.csv").stdout.split())
    assert "The groups of one differ in accuracy: chi-square" in said


def test_either_predictions_or_models(tables, percert):
    for words in (
        ["--attributes", tables / "attributes.csv"],
        [tables / "one.csv", "--attribute", "log_gdp"],
        [tables / "one.csv", "--attributes", tables / "attributes.csv", "--model", "x"],
        ["--attributes", tables / "attributes.csv", "--model", "x"],
    ):
        percert("audit", "groups", *words, exit_code=2)


@pytest.fixture
def photographs(tmp_path, tables, monkeypatch):
    """Groups of images of which more and more are labelled as the classifier sees them."""
    rows = []
    (tmp_path / "in").mkdir()
    for place, group in enumerate(["AA", "BB", "CC", "NA"]):
        for image in range(8):
            bright = image % 2
            name = f"in/{group}{image}.png"
            save_image(torch.full((3, 8 + bright, 8), 0.2 + 0.6 * bright), tmp_path / name)
            rows.append((name, group, bright if image >= 3 - place else 1 - bright))
    pd.DataFrame(rows, columns=["image", "group", "label"]).to_csv(
        tmp_path / "groups.csv", index=False
    )
    (tmp_path / "brightness.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return (
        "audit", "groups", "--images", tmp_path, "--groups", tmp_path / "groups.csv",
        "--attributes", tables / "attributes.csv", "--attribute", "log_gdp", "--min-size", "5",
        "--draws", "0", "--model", "brightness:make",
    )  # fmt: skip


MODULE = """
import torch

class ByBrightness(torch.nn.Module):
    def forward(self, images):
        light = images.mean((1, 2, 3))
        return torch.stack([0.5 - light, light - 0.5], 1)

def make():
    return ByBrightness()
"""


def test_models_are_run_on_images_of_any_size(photographs, percert_json):
    found = percert_json(*photographs)
    accuracy = {row["group"]: row["accuracy"] for row in found["groups"]}
    assert accuracy == pytest.approx({"AA": 0.625, "BB": 0.75, "CC": 0.875, "NA": 1.0})
    assert found["models"][0]["model"] == "brightness:make"


def test_predictions_are_kept_and_not_made_twice(photographs, percert_json, tmp_path, monkeypatch):
    out = tmp_path / "out"
    found = percert_json(*photographs, "--out", out)
    assert len(list(out.glob("predictions-*.parquet"))) == 1

    def fail(*_, **__):
        raise AssertionError("the classifier was loaded again")

    monkeypatch.setattr("percert.models.load_classifier", fail)
    assert percert_json(*photographs, "--out", out) == found


TILTED = """
import torch

class Tilted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.least = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, images):
        light = images.mean((1, 2, 3))
        return torch.stack([self.least - light, light - self.least], 1)
"""


def run_of_dro(folder, least):
    """What percert train dro leaves behind: the models' weights, and the settings of the run."""
    folder.mkdir()
    for number, value in enumerate(least):
        save_file({"least": torch.tensor(value)}, folder / f"model-{number:04d}.safetensors")
    write_run(
        folder, command=[], seed=0, settings={"model": "tilted:Tilted"}, device="cpu", seconds=0.0
    )
    return folder


def test_folders_of_models_are_compared_by_name_and_each_image_decoded_once(
    photographs, percert, percert_json, tmp_path, monkeypatch
):
    (tmp_path / "tilted.py").write_text(TILTED)
    ours = run_of_dro(tmp_path / "ours", [0.5, 0.1])  # as by brightness, and always "bright"
    theirs = run_of_dro(tmp_path / "theirs", [0.9, 0.5])
    words = [*photographs[:-1], ours]
    decoded = []
    decode = percert_groups.load_image
    monkeypatch.setattr(
        percert_groups, "load_image", lambda path: decoded.append(path) or decode(path)
    )
    found = percert_json(*words, "--against", theirs)
    assert len(decoded) == len(set(decoded)) == 32
    rows = [row for row in found["models"] if row["covariance"] == "between"]
    assert [row["model"] for row in rows] == [
        f"{run}/model-000{number}" for run in ("ours", "theirs") for number in (0, 1)
    ]
    slopes = [row["slope"] for row in rows]
    assert slopes[0] == pytest.approx(slopes[3])  # the same model, in either set
    assert len({round(slope, 6) for slope in slopes}) == 3
    (tmp_path / "in" / "run.json").write_text("{}")
    (line,) = percert(*photographs, "--model", tmp_path / "in", exit_code=1).stderr.splitlines()
    assert "expected a run of percert train dro" in line
    (line,) = percert(
        *words, "--weights", ours / "model-0000.safetensors", exit_code=1
    ).stderr.splitlines()
    assert "--weights: expected none, for a folder has its own" in line


def test_models_that_do_not_fit_side_by_side_run_one_after_another(
    photographs, percert_json, tmp_path, monkeypatch
):
    (tmp_path / "tilted.py").write_text(TILTED)
    words = [*photographs[:-1], run_of_dro(tmp_path / "ours", [0.5, 0.1, 0.9])]
    found = percert_json(*words)
    monkeypatch.setattr(percert_groups, "HELD", 1)
    assert percert_json(*words) == found


def test_bad_images_and_lists_are_one_line(photographs, percert, tmp_path):
    (tmp_path / "in" / "AA0.png").write_text("no image")
    (line,) = percert(*photographs, exit_code=1).stderr.splitlines()
    assert "AA0.png" in line
    save_image(torch.full((3, 8, 8), 0.2), tmp_path / "in" / "AA0.png")
    table = (tmp_path / "groups.csv").read_text()
    for old, new, said in (
        ("AA0.png,AA,1", "AA0.png,AA,x", "class indices"),
        ("AA0.png,AA,1", "AA1.png,AA,1", "duplicate images"),
        ("AA0.png,AA,1", "AA0.png,AA,7", "knows classes 0 to 1"),
        ("in/AA0.png", "../AA0.png", "lies outside"),
        ("image,", "picture,", "no column 'image'"),
    ):
        assert old in table
        (tmp_path / "groups.csv").write_text(table.replace(old, new))
        (line,) = percert(*photographs, exit_code=1).stderr.splitlines()
        assert said in line


def test_help(percert):
    said = percert("audit", "groups", "--help").stdout
    for words in ("--attributes", "--against", "left_out", "correct", "--min-size"):
        assert words in said


def test_another_outcome_is_asked_for(percert, percert_json, tmp_path):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 300)
    pd.DataFrame(
        {
            "image": range(300),
            "land": np.repeat(["AA", "BB", "CC"], 100),
            "label": np.where(label, "Male", "Female"),
            "p": np.clip(0.5 + 0.3 * (label - 0.5) + rng.normal(0, 0.2, 300), 0, 1),
            "approved": label,
        }
    ).to_csv(tmp_path / "sure.csv", index=False)
    words = ("audit", "groups", tmp_path / "sure.csv", "--column", "group=land")
    words += ("--column", "probability=p", "--draws", "0", "--min-size", "1")
    found = percert_json(*words, "--outcome", "true-positive-rate", "--positive", "Female")
    assert found["details"]["outcome"]["positive"] == "Female"
    assert sum(row["n"] for row in found["groups"]) == int((label == 0).sum())
    assert 0 < found["groups"][0]["true_positive_rate"] < 1
    said = percert(*words, "--outcome", "selection-rate", "--threshold", "0.4").stdout
    assert "The class Male counts as positive" in " ".join(said.split())
    found = percert_json(*words, "--outcome", "approved")
    assert [row["approved"] for row in found["groups"]] == pytest.approx(
        label.reshape(3, 100).mean(1).tolist()
    )
    (line,) = percert(*words, "--outcome", "recall", exit_code=1).stderr.splitlines()
    assert "no column 'recall'" in line


def test_versions_are_compared(tables, percert, percert_json, tmp_path):
    frame = predictions(0.09)
    frame.assign(correct=frame["correct"] | (frame["group"] == "AA")).to_csv(
        tmp_path / "new.csv", index=False
    )
    words = ("audit", "groups", tmp_path / "new.csv", "--before", tables / "one.csv")
    (found,) = percert_json(*words, "--draws", "0")["details"]["versions"]
    assert [entry["group"] for entry in found["groups"]] == ["AA", "BB", "CC", "NA"]
    assert found["groups"][0]["lost"] == 0 < found["groups"][0]["won"]
    said = " ".join(percert(*words, "--draws", "0", "--out", tmp_path / "out").stdout.split())
    assert "accuracy rose in AA and fell in no group" in said
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert str(tables / "one.csv") in run["inputs"]


def test_python_reads_the_same_files_and_finds_the_same(tables, percert_json, tmp_path):
    from percert.audit import GroupFiles, audit_group_files
    from percert.fairness import AuditSettings

    files = GroupFiles(
        predictions=tables / "one.csv",
        attributes=tables / "attributes.csv",
        attribute=("log_gdp",),
        before=[tables / "one.csv"],
    )
    found = audit_group_files(files, AuditSettings(draws=20), out=tmp_path / "report")
    told = percert_json(*arguments(tables, "one.csv", "--before", tables / "one.csv"))
    assert json.loads(json.dumps(found.to_dict())) == told
    inputs = json.loads((tmp_path / "report" / "run.json").read_text())["inputs"]
    assert len(inputs) == 2  # the same file twice, and the attributes
    with pytest.raises(ValueError, match="predictions: expected a file, or models, images and"):
        audit_group_files(GroupFiles(models=("squeezenet1_0",)))


def test_an_audit_of_predictions_takes_no_torch(tables):
    script = (
        "import sys; from pathlib import Path; from percert.audit import GroupFiles, "
        "audit_group_files; from percert.fairness import AuditSettings; "
        "audit_group_files(GroupFiles(predictions=Path(sys.argv[1])), AuditSettings(draws=0)); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, tables / "one.csv"], check=True)
