"""The page of the attacks on the paper's photographs: its numbers are those of the records."""

from statistics import fmean

import pytest
import torch

from experiments.papers.hpot import on_photographs, rivals
from experiments.papers.hpot.detection import LARGEST, SQUEEZERS, detected
from experiments.papers.hpot.rivals import LITERAL, Counts
from percert.defences import create_defence
from percert.evaluation.attack_runs.distances import CLEAN
from percert.images import load_image
from percert.models import load_classifier
from percert.models.weights import is_packaged
from percert.reports import read_records

NAME = "squeezenet1_0-imagenet.safetensors"


def scores(values, changed=False):
    return {
        (attack, f"{place:02d}", squeezer): {"score": score, "changed": changed}
        for attack, some in values.items()
        for place, score in enumerate(some)
        for squeezer in SQUEEZERS
    }


def test_a_threshold_is_never_set_on_what_it_judges():
    # Half of the clean photographs, every other one by name, score ten times the rest.
    clean = [10.0 if place % 2 else 1.0 for place in range(40)]
    no_attack, attack = detected(scores({CLEAN: clean, "a": [5.0] * 40}))
    assert no_attack.attack == CLEAN
    # The threshold of one half is 10 for the other, and that of the other 1: half are alarms.
    assert no_attack.alarmed[LARGEST] == 0.5
    assert attack.alarmed["jpeg-75"] == 0.5
    assert attack.files == 40
    low, high = attack.intervals["jpeg-75"]
    assert low < 0.5 < high


def test_at_most_a_twentieth_of_the_clean_are_false_alarms():
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(2000, generator=generator).tolist()
    (no_attack,) = detected(scores({CLEAN: clean}))
    assert no_attack.alarmed["bits-4"] == pytest.approx(0.05, abs=0.015)


@pytest.fixture
def few(monkeypatch):
    """Few steps of few attacks."""
    quick = {
        "PGD (L2)": "ascent:steps=60,step=0.5,rescale_steps=0",
        LITERAL.format(0): "human-perc-ot-literal:steps=8",
        LITERAL.format(5): "human-perc-ot-literal:steps=20,confidence=0.1",
        "ssim-sqp": "ssim-sqp",
    }
    for module in (rivals, on_photographs):
        monkeypatch.setattr(module, "QUICK", quick)
        monkeypatch.setattr(module, "SLOWER", {"human-perc-ot": "human-perc-ot:steps=20"})
        monkeypatch.setattr(module, "SLOWEST", {"PerC_AL": "perc-al:steps=5"})
        monkeypatch.setattr(
            module, "WEIGHED", {"lambda 2": "human-perc-ot-literal:steps=8,step=2,lam=2"}
        )
    return quick


@pytest.mark.skipif(not is_packaged("stlpips_pytorch"), reason="no weights of ST-LPIPS")
def test_the_page_has_what_the_records_have(setting, few, tmp_path):
    pytest.importorskip("cv2")
    found = on_photographs.measured(
        setting, Counts(quick=6, slower=3, slowest=2, weighed=2, clean=12)
    )
    folder = setting.out.parent / "attacked-photographs"
    rows = [row for row in read_records(folder / "records.parquet") if row["attacked"]]
    spec = few["ssim-sqp"]
    names = sorted({row["image"] for row in rows})
    first = [r for r in rows if r["attack"] == spec and r["image"] in ("p00.png", "p01.png")]
    by_name = {entry["attack"]: entry for entry in found["table_1"]}
    # p03 is one that the network has wrong: of the first three all are attacked.
    assert by_name["ssim-sqp"]["images"] == 3
    quick = {entry["attack"]: entry for entry in found["all_quick"]}
    assert quick["ssim-sqp"]["images"] == len(names) == 5
    few_rows = {entry["attack"]: entry for entry in found["slowest"]}
    assert few_rows["PerC_AL"]["images"] == 2
    won = [row for row in first if row["success_8bit"]]
    assert few_rows["ssim-sqp"]["mean"]["l2"] == pytest.approx(fmean(r["l2"] for r in won))
    assert found["right"] == {"images": 12, "share": 0.75}
    returned = {entry["attack"]: entry for entry in found["returned"]}["PGD (L2)"]
    pgd = [r for r in rows if r["attack"] == few["PGD (L2)"] and r["image"] in names[:3]]
    assert returned["returned"]["l2"] == pytest.approx(
        fmean(r["l2_returned"] for r in pgd if r["success"])
    )
    told = {entry["attack"]: entry for entry in found["detection"]}
    assert told[CLEAN]["files"] == 9  # those of all 12 that the network has right
    assert told["ssim-sqp"]["changed"]["jpeg-75"] == changed_class(setting, folder, rows, spec)
    out = tmp_path / "docs"
    on_photographs.write_page(found, out)
    page = (out / "human-perc-ot.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith("| ssim-sqp | 3 |"))
    assert f"{by_name['ssim-sqp']['mean']['l1']:.3g}" in line
    assert "## Table 3" in page
    assert "75.0 % of the 12" in page
    assert {path.name for path in out.glob("*.png")} == {
        f"human-perc-ot-{name}.png" for name in on_photographs.FIGURES
    }


def changed_class(setting, folder, rows, spec):
    """How often JPEG 75 changes the class of the attack's files, looked at one by one."""
    model = load_classifier("squeezenet1_0", "cpu", setting.data / NAME)
    squeeze = create_defence("jpeg-75")
    changes = []
    for row in rows:
        if row["attack"] == spec and row["success_8bit"]:
            image = load_image(folder / row["file"])[None]
            with torch.no_grad():
                both = [int(model(one).argmax()) for one in (image, squeeze(image))]
            changes.append(both[0] != both[1])
    return fmean(changes)
