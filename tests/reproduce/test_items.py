"""Every item that can be made from small data, on tiny data."""

import pytest

from percert.reproduce import CATALOG, Setting, attack_tables, embedding_moves, run_item, twoafc
from percert.reproduce.printed import LIPSIM_TABLE_2


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Fewer attacks and steps: the items call what is tested elsewhere."""
    some = {
        "PGD (L2)": "ascent:steps=60,step=0.5",
        "Human_Perc_OT (a = 0)": "human-perc-ot-literal:steps=3",
    }
    monkeypatch.setattr(attack_tables, "ATTACKS", some)
    monkeypatch.setattr("percert.reproduce.defences.ATTACKS", some)
    monkeypatch.setattr(
        "percert.reproduce.defences.CONFIDENT", "human-perc-ot-literal:steps=6,confidence=1"
    )
    monkeypatch.setattr(attack_tables, "OURS", "ascent:steps=4")
    monkeypatch.setattr(embedding_moves, "STEPS", 3)
    monkeypatch.setattr(embedding_moves, "SIDE", 32)
    monkeypatch.setattr(twoafc, "KINDS", ("noise",))


def made(name, setting):
    outcome = run_item(CATALOG[name], setting)
    assert outcome.state == "made", outcome.reason
    return outcome.findings


def values(findings):
    return {row.what: row.measured for row in findings.rows}


@pytest.mark.parametrize(
    "name", ["hpot-table1", "hpot-table6", "hpot-figure4", "hpot-figure5", "hpot-figure7"]
)
def test_attacks_on_photographs(name, setting):
    findings = made(name, setting)
    assert findings.differs
    assert not findings.same
    found = values(findings)
    if name == "hpot-table1":
        by_name = {row.what: row for row in findings.rows}
        assert by_name["PGD (L2): mean L2"].paper == 1.561
        assert found["PGD (L2): success"] == 100
        assert found["PGD (L2): mean L2"] > 0
    if name == "hpot-table6":
        assert all(value > 0 for value in found.values())
    if name == "hpot-figure7":
        assert found["no attack through jpeg-75"] <= 100
        assert all(0 <= value <= 100 for value in found.values())


def test_an_attack_is_made_once_for_all_items(setting, monkeypatch):
    made("hpot-table1", setting)
    shared = setting.out / "attacked-photographs"
    before = (shared / "records.parquet").read_bytes()

    def fail(*_, **__):
        raise AssertionError("attacked again")

    monkeypatch.setattr("percert.attacks.collection.local.attack_batch", fail)
    made("hpot-table6", setting)
    assert (shared / "records.parquet").read_bytes() == before


def test_moves_stay_below_what_is_proven(setting):
    findings = made("lipsim-figure7", setting)
    found = values(findings)
    largest = found["lipsim-tiny: largest d(x, x + delta)"]
    assert 0 < largest <= found["lipsim-tiny: largest d that is possible, proven"]
    assert found["lipsim-tiny: share of photographs with d(x, x + delta) > 0.5"] == 0
    farther = made("lipsim-figure6", setting)
    assert len(farther.figures) == 1
    near = values(made("lipsim-figure3b", setting))
    what = "lipsim-tiny: mean d(x, x + delta)"
    assert near[what] < values(farther)[what]


def test_certified_scores_fall_with_the_radius(setting):
    found = values(made("lipsim-table2", setting))
    natural = found["LipSim, natural score"]
    for kind in ("Eq. 8", "the exact radius"):
        scores = [found[f"certified by {kind}, {level}/255"] for level in LIPSIM_TABLE_2[1]]
        if None in scores:
            continue
        assert natural >= scores[0] >= scores[1] >= scores[2] >= 0


def test_night_is_taken_where_it_is(tiny_data, tmp_path):
    folder = tmp_path / "data"
    pictures = tiny_data / "imagenet-compatible" / "images"
    (folder / "night").mkdir(parents=True)
    lines = ["id,left_vote,right_vote,votes,ref_path,left_path,right_path,prompt,split,is_imagenet"]
    for place in range(3):
        names = [f"p{place + step:02d}.png" for step in range(3)]
        for name in names:
            (folder / "night" / name).write_bytes((pictures / name).read_bytes())
        # Neighbours in brightness are the closer ones, whatever the network says.
        lines.append(f"{place},1,0,6,{','.join(names)},x,test,{place % 2}")
    (folder / "night" / "data.csv").write_text("\n".join(lines) + "\n")
    findings = made("lipsim-table2", Setting(tmp_path / "other", folder, images=2))
    assert findings.differs[0] == (
        "2 triplets: the first ones (--images takes more) of NIGHT's test set."
    )
    assert not findings.same  # another network than the paper's


def test_digits_under_one_step(setting):
    found = values(made("hpot-figure9", setting))
    for step in ("SSIM step, eps 10", "gradient step, eps 10"):
        assert 0 <= found[f"{step}: success as files"] <= 100
    first = made("hpot-figure3", setting)
    assert len(first.figures) <= 1


def test_the_audit_by_brightness(setting):
    findings = made("hpot-figure8", setting)
    found = values(findings)
    assert found["groups"] == 6
    assert found["its denominator's degrees of freedom"] == 4
    assert 0 <= found["its p-value"] <= 1
    assert len(findings.figures) == 1
