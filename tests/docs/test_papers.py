"""What the pages say of the papers is what the results' JSON has."""

import json
from fnmatch import fnmatchcase

import pytest
from tests.docs.commands import REPOSITORY

from percert.reports.table import number

DOCS = REPOSITORY / "docs"
OURS = "Human_Perc_OT (a = 0)"


def result(name):
    return json.loads((DOCS / "results" / f"{name}.json").read_text("utf-8"))


def words(name):
    return " ".join((DOCS / name).read_text("utf-8").split())


def test_what_is_said_of_human_perc_ot_beside_its_rivals_is_on_its_page():
    found, said = result("human-perc-ot"), words("concepts/human-perc-ot.md")
    table = {entry["attack"]: entry for entry in found["table_1"]}
    assert f"{table[OURS]['images']} of them, EfficientNet-Lite0" in said
    ratio = {
        name: number(1 / entry["st-lpips-alex"], 2)
        for name, entry in found["ratios"].items()
        if entry["st-lpips-alex"]
    }
    assert (
        f"the attack has {ratio['PGD (L2), truncated to 8 bits in each step']} of the ST-LPIPS of "
        "the raw gradient truncated to 8 bits in each step, "
        f"{ratio['NPTM (PPGD), AlexNet']} of PPGD's and {ratio['NPTM (LPA), AlexNet']} of LPA's"
    ) in said
    assert (
        f"{ratio['PGD (L2), least multiple as a file']} times that of normalised ascent rescaled "
        "to the least multiple that a file survives, "
        f"{ratio['PerC_AL (100 steps)']} times that of PerC-AL (100 steps), "
        f"{ratio['human-perc-ot']} times that of `human-perc-ot` and "
        f"{ratio['ssim-sqp']} times that of `ssim-sqp`"
    ) in said
    survived = {(e["attack"], e["defence"]): e["share"] for e in found["figure_7"]}
    assert "With a = 5 all of it survives JPEG 75 and 4 bits" in said
    assert {survived["Human_Perc_OT (a = 5)", d] for d in ("jpeg-75", "bits-4")} == {1.0}
    l2 = [number(entry["mean"]["l2"]) for entry in found["table_3"]]
    assert [entry["attack"] for entry in found["table_3"]] == ["lambda 0.5", "lambda 1", "lambda 2"]
    assert f"l2 {l2[0]}, {l2[1]} and {l2[2]} at 0.5, 1 and 2" in said


def test_what_is_said_of_mnists_digits_is_what_was_made():
    said = words("concepts/human-perc-ot.md")
    (item,) = (i for i in result("reproduce")["items"] if i["name"] == "hpot-figure9")
    rows = {row["what"]: row["measured"] for row in item["rows"]}
    assert rows["digits of the test set"] == 10_000
    step, other = "SSIM step, eps 10", "gradient step, eps 10"
    assert (
        f"the step under 1 - SSIM succeeds on {rows[f'{step}: success as files']:.1f} % with a "
        f"mean 1 - SSIM of {rows[f'{step}: mean 1 - SSIM where both succeed']:.2f}, the gradient "
        f"step of the same length on all with "
        f"{rows[f'{other}: mean 1 - SSIM where both succeed']:.2f}"
    ) in said
    assert rows[f"{other}: success as files"] == 100
    inside = rows["SSIM step, windows inside, eps 10: success as files"]
    assert f"inside the image the step succeeds on {inside:.1f} %" in said


def test_what_other_pages_say_of_the_paper_s_photographs_is_so():
    found = result("human-perc-ot")
    right = 100 * found["right"]["share"]
    assert f"with an EfficientNet that has {right:.0f} % of them right" in words("results/index.md")
    (ours,) = (entry for entry in found["all_quick"] if entry["attack"] == OURS)
    calls = f"calls the network {ours['model_calls']:.0f} times an image"
    assert calls in words("how-to/robust-training.md")


def test_what_the_page_of_both_papers_says_in_words_is_so():
    """The words of the first tables hold an order; the numbers beside them are the rows'."""
    from experiments.papers.found import CLAIMS, claims
    from experiments.papers.report import answered

    found = result("reproduce")
    outcomes = [answered(entry) for entry in found["items"]]
    told = claims(outcomes)
    assert [claim.says for claim in CLAIMS if claim.says not in told] == []

    def measured(item, pattern):
        rows = next(o for o in outcomes if o.item.name == item).findings.rows
        (row, *_) = (row for row in rows if fnmatchcase(row.what, pattern))
        assert row.measured is not None
        return row.measured

    for table, attack in (
        ("lipsim-table1", "under attack, l2 2"),
        ("lipsim-table3", "under AutoAttack, linf 0.03"),
    ):
        assert measured(table, f"LipSim*: {attack}") > measured(table, f"DreamSim*: {attack}")
    visible = {
        name: measured("hpot-table1", f"{name}: mean LPIPS*")
        for name in (OURS, "NPTM (LPA)", "NPTM (PPGD)", "PerC_AL")
    }
    visible["least"] = measured("hpot-table1", "PGD (L2), the least multiple*: mean LPIPS*")
    assert max(visible["least"], visible["PerC_AL"]) < visible[OURS]
    assert visible[OURS] < min(visible["NPTM (LPA)"], visible["NPTM (PPGD)"])
    by_lambda = [measured("hpot-table3", f"lambda {value}: mean L2") for value in ("0.5", "1", "2")]
    by_step = [measured("hpot-table4", f"step {value}: mean L2") for value in (0.05, 0.1, 0.2)]
    assert by_lambda == sorted(by_lambda)
    assert by_step == sorted(by_step)
    assert by_step[2] / by_step[0] > 1.906 / 1.902  # by more than in the paper
    for defence in ("jpeg-75", "bits-5"):
        ours = measured("hpot-figure7", f"Human_Perc_OT (a = 5) through {defence}")
        assert ours == measured("hpot-figure7", f"NPTM (LPA) through {defence}")
    assert "nothing of the kind is shown, with as many models a set as the paper's" in told
    assert "50 models a set" in words("results/dro-fairness.md")
    assert "tests between sets, corrected by Holm's method, 0 reject" in words(
        "results/dro-fairness.md"
    )


@pytest.mark.parametrize("below", [True, False])
def test_rivals_are_called_more_and_less_visible_by_their_numbers(below):
    from experiments.papers.hpot.claims import claims

    found = result("human-perc-ot")
    text = claims(found)
    start, end = ("By ST-LPIPS smaller than those of ", ". Larger") if below else (
        "Larger than those of ", ". Below is")  # fmt: skip
    listed = text.split(start)[1].split(end)[0].split("; ")
    assert listed
    for name in listed:
        assert (1 / found["ratios"][name]["st-lpips-alex"] < 1) == below
