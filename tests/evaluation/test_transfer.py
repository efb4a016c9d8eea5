"""Transfer between classifiers whose verdicts are known."""

import pytest
import torch
from tests.evaluation.attack_world import NAMES, bright, dark, grey, originals, write_attacks
from torch import nn

from percert.evaluation.attack_runs.defences import transferred_predictions, transfers
from percert.evaluation.attack_runs.read import read_attack_runs


class Stricter(nn.Module):
    """Class 1 only from a mean of 0.7 on, and what is darker than 0.4 is class 1 too."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        one = (mean >= 0.7) | (mean < 0.4)
        return torch.stack([(~one).float(), one.float()], 1)


@pytest.fixture
def run(tmp_path):
    images = originals(tmp_path / "images")  # means 0.392 to 0.404: c and d are above 0.4
    return write_attacks(
        tmp_path / "run",
        images,
        {
            "weak": dict.fromkeys(NAMES, grey(140)),
            "strong": {"a.png": grey(200), "c.png": grey(200), "d.png": None},
        },
    )


def test_only_what_was_right_before_can_be_fooled(run, tmp_path):
    rows = read_attack_runs([run]).rows
    models = {"same": bright(), "stricter": Stricter(), "swapped": dark()}
    found = transferred_predictions(rows, tmp_path / "images", models, {}, tmp_path / "out")
    entries = transfers(rows, found, list(models))
    assert {(e.attack, e.model): (e.images, e.right, e.fooled) for e in entries} == {
        ("weak", "same"): (4, 4, 4),
        ("weak", "stricter"): (4, 2, 0),
        ("weak", "swapped"): (4, 0, 0),
        ("strong", "same"): (2, 2, 2),
        ("strong", "stricter"): (2, 1, 1),
        ("strong", "swapped"): (2, 0, 0),
    }
    assert {e.share for e in entries if e.model == "swapped"} == {None}
    assert {e.source for e in entries} == {"tests.evaluation.attack_world:bright"}


def test_other_weights_of_the_same_model_are_asked_anew(run, tmp_path):
    rows = read_attack_runs([run]).rows

    def fooled(model, hashed):
        found = transferred_predictions(
            rows, tmp_path / "images", {"net": model}, {"net": hashed}, tmp_path / "out"
        )
        return [entry.fooled for entry in transfers(rows, found, ["net"])]

    assert fooled(bright(), "one") == [4, 2]
    assert fooled(Stricter(), "one") == [4, 2]  # as stored: the hash says that nothing changed
    assert fooled(Stricter(), "two") == [0, 1]
