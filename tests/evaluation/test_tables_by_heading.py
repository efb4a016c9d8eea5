"""Every table of the evaluations says under each heading what was computed of that name.

All values differ, so that no two columns, rows or names can change places unseen.
"""

import pytest
from tests.evaluation import distinct
from tests.evaluation.distinct import detector, scores, spread
from tests.reports.tables import made, said, tables_of

from percert.evaluation.attack_runs.compare import AttackNumbers
from percert.evaluation.attack_runs.defences import (
    Survival,
    Transfer,
    survival_section,
    transfer_section,
)
from percert.evaluation.attack_runs.frontier import FrontierPoint, frontier_section
from percert.evaluation.attack_runs.pages import _numbers
from percert.evaluation.attack_runs.report import attack_sections
from percert.evaluation.attack_runs.saliency import saliency_section
from percert.evaluation.copies.evaluate import CopiesPlan
from percert.evaluation.copies.report import copies_sections
from percert.evaluation.retrieval import RetrievalScore
from percert.evaluation.retrieval_report import scores_table
from percert.evaluation.stability import Moved, moved_table
from percert.evaluation.twoafc.lipschitz_violations import Violations, violations_table
from percert.evaluation.twoafc.report import (
    attacked_table,
    compared_tables,
    effort_table,
    groups_table,
    natural_table,
)

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def evaluation():
    return distinct.evaluation()


OWN = {"attack": "ours", "images": "210", "success": "21.0 %", "8-bit success": "10.5 %"}
MEANS = {"L2": "212 *", "DISTS": "312 *"}
COST = {
    "attack": "ours",
    "total s": "610",
    "s an image": "220",
    "CPU s an image": "230",
    "model calls an image": "240",
}


def test_attacks(evaluation):
    success, medians, shared, shared_medians, ratios, effort, steps = map(
        said, tables_of(attack_sections(evaluation))
    )
    assert success[0] == OWN | MEANS
    assert success[1] == {
        "attack": "theirs", "images": "620", "success": "62.0 %", "8-bit success": "31.0 %",
        "L2": "622", "DISTS": "722",
    }  # fmt: skip
    assert medians[0] == {"attack": "ours", "L2": "213 (211 to 215)", "DISTS": "313 (311 to 315)"}
    assert shared == [
        {"attack": "ours", "images": "30", "success": "3.0 %", "8-bit success": "1.5 %",
         "L2": "32", "DISTS": "132"}
    ]  # fmt: skip
    assert shared_medians == [
        {"attack": "ours", "L2": "33 (31 to 35)", "DISTS": "133 (131 to 135)"}
    ]
    assert ratios == [
        {"attack": "ours", "images": "7", "L2": "0.11", "DISTS": "0.22", "seconds": "0.33",
         "CPU s": "0.44", "calls": "0.55"}
    ]  # fmt: skip
    assert effort[0] == COST | {"images": "210"}
    assert steps[0] == {
        "pgd: steps": "10", "images": "210", "8-bit success": "10.5 %", "total s": "610", **MEANS
    }  # fmt: skip
    assert steps[1]["pgd: steps"] == "40"
    assert steps[1]["images"] == "620"


def test_the_page_of_an_attack_run(evaluation):
    success, medians, effort = map(said, tables_of([_numbers(evaluation)]))
    assert success[0] == OWN | MEANS
    assert medians[1]["L2"] == "623 (621 to 625)"
    assert effort[0] == COST


def test_saliency():
    numbers = made(
        AttackNumbers,
        attack="ours",
        attacked=8,
        success=0.75,
        success_8bit=0.5,
        distances=_saliency_distances(),
    )
    means, medians = map(said, tables_of([saliency_section("sr", 1, [numbers], [], [])]))
    assert means[0]["attack"] == medians[0]["attack"] == "ours"
    assert (means[0]["images"], means[0]["success"]) == ("8", "75.0 %")
    assert means[0]["8-bit success"] == "50.0 %"
    for place, heading in enumerate(list(means[0])[4:]):
        assert means[0][heading] == str(10 * (place + 1) + 2)
        assert medians[0][heading].startswith(f"{10 * (place + 1) + 3} (")
    from percert.evaluation.attack_runs.compare import title
    from percert.evaluation.attack_runs.saliency import DISTANCES

    assert list(means[0])[4:] == [title(name) for name in DISTANCES]


def _saliency_distances():
    from percert.evaluation.attack_runs.saliency import DISTANCES

    return {name: spread(10.0 * (place + 1)) for place, name in enumerate(DISTANCES)}


def test_copies():
    first = detector("ours", 0.0, proven=True)
    second = detector("phash", 0.04, proven=False)
    plan = CopiesPlan(edits=())
    rates, proven, evasion, collision, edits = map(
        said, tables_of(copies_sections([first, second], plan, PNG, PNG))
    )
    assert rates[0] == {
        "detector": "ours", "TPR at 0.001": "0.701", "TPR at 0.01": "0.801", "uAP": "0.601",
        "threshold": "0.401", "FPR there": "0.0021", "found there": "0.501",
    }  # fmt: skip
    assert rates[1]["threshold"] == "0.441"
    assert rates[1]["found there"] == "0.541"
    assert proven == [
        {"detector": "ours", "found": "0.501", "l2 1 (48.2 dB)": "0.301", "l2 2": "0.201"}
    ]
    assert evasion[0] == {
        "detector": "ours", "no attack": "0.911", "l2 1 (48.2 dB)": "0.811 (0.711)",
        "l2 1 (48.2 dB), 8 bit": "0.611", "l2 2": "0.511 (0.411)", "l2 2, 8 bit": "0.311",
    }  # fmt: skip
    assert collision[0]["no attack"] == "0.921"
    assert collision[0]["l2 2, 8 bit"] == "0.321"
    assert edits == [
        {"edit": "crop", "ours": "0.151", "phash": "0.191"},
        {"edit": "swirl (hard)", "ours": "0.251", "phash": "0.291"},
    ]


def test_defences():
    entries = [
        Survival("ours", "jpeg", 10, 8, 6),
        Survival("ours", "bits", 10, 8, 3),
        Survival("theirs", "jpeg", 20, 18, 2),
        Survival("theirs", "bits", 20, 18, 9),
    ]
    points = [FrontierPoint("ours", "ours", 0.0, "jpeg", 0.6, 3.5, "theirs", 1.75)]
    sections = [survival_section(entries), frontier_section("l2", points, entries)]
    shares, costs = map(said, tables_of(sections))
    assert shares == [
        {"attack": "ours", "images": "10", "8-bit success": "0.80",
         "jpeg": "0.60 (0.31 to 0.83)", "bits": "0.30 (0.11 to 0.60)"},
        {"attack": "theirs", "images": "20", "8-bit success": "0.90",
         "jpeg": "0.10 (0.03 to 0.30)", "bits": "0.45 (0.26 to 0.66)"},
    ]  # fmt: skip
    assert costs == [
        {"attack": "ours", "survival": "0.60", "median L2": "3.5",
         "cheapest that survives as often": "theirs", "times its cost": "2.00"}
    ]  # fmt: skip


def test_transfer():
    entries = [
        Transfer("ours", "squeeze", "squeeze", 10, 8, 6),
        Transfer("ours", "squeeze", "vgg", 10, 5, 1),
        Transfer("theirs", "vgg", "squeeze", 20, 0, 0),
        Transfer("theirs", "vgg", "vgg", 20, 4, 3),
    ]
    accuracy = {"squeeze": 0.81, "vgg": 0.62}
    shares, before = map(said, tables_of([transfer_section(entries, accuracy)]))
    assert shares == [
        {"attack": "ours", "made against": "squeeze", "squeeze": "0.75 (0.41 to 0.93, 8)",
         "vgg": "0.20 (0.04 to 0.62, 5)"},
        {"attack": "theirs", "made against": "vgg", "squeeze": "- (0)",
         "vgg": "0.75 (0.30 to 0.95, 4)"},
    ]  # fmt: skip
    assert before == [
        {"classifier": "squeeze", "right before any attack": "0.81"},
        {"classifier": "vgg", "right before any attack": "0.62"},
    ]


def test_retrieval():
    score = RetrievalScore("ours", 9, 0.81, 0.72, 0.63, 2.0, 5.4, 0.45, 0.36)
    assert said(scores_table([score])) == [
        {
            "detector": "ours",
            "queries": "9",
            "first unchanged": "0.810",
            "8-bit": "0.720",
            "certified at l2 2": "0.630",
            "median radius": "5.4",
            "same class": "0.450",
            "same class after": "0.360",
        }
    ]


def test_stability():
    moved = Moved("m", "l2", 0.5, 7, 0.11, 0.22, 0.33, 0.44, 0.55)
    assert said(moved_table([moved])) == [
        {"metric": "m", "budget": "l2 0.5", "images": "7", "mean": "0.11", "median": "0.22",
         "95 %": "0.33", "most": "0.44", "of its bound": "55.0 %"}
    ]  # fmt: skip
    violations = Violations("m", "l2", 0.5, 7, 3, 1.4, "cat.png")
    assert said(violations_table([violations])) == [
        {"metric": "m", "budget": "l2 0.5", "violations": "3 of 7",
         "steepest d / |delta|": "1.4", "at": "cat.png"}
    ]  # fmt: skip


def test_twoafc():
    whole, group = scores("all", 60.0), scores("blur", 30.0)
    assert said(natural_table([whole, group]))[0] == {
        "triplets": "all", "count": "60", "natural": "60.00", "certified 0.5": "59.41",
        "certified 1": "58.25", "paper's 0.5": "58.82", "paper's 1": "57.69",
        "median radius": "60.5",
    }  # fmt: skip
    assert said(attacked_table([whole, group])) == [
        {"attack": "natural", "l2 1": "60.00", "linf 8/255": "60.00"},
        {"attack": "pgd", "l2 1": "57.14", "linf 8/255": "55.56"},
        {"attack": "apgd", "l2 1": "56.60", "linf 8/255": "-"},
        {"attack": "worst of all", "l2 1": "56.07", "linf 8/255": "55.05"},
        {"attack": "certified", "l2 1": "1.00", "linf 8/255": "2.00"},
    ]
    assert said(groups_table([whole, group])) == [
        {"triplets": "all", "l2 1": "56.07", "linf 8/255": "55.05"},
        {"triplets": "blur", "l2 1": "28.04", "linf 8/255": "27.52"},
    ]
    row = {"attack": "pgd", "attacked": True, "seconds": 2.0, "model_calls": 30.0}
    assert said(effort_table([row])) == [{"attack": "pgd", "s/triplet": "2", "calls/triplet": "30"}]


def test_twoafc_of_several_metrics():
    named = {"ours": [scores("all", 60.0), scores("blur", 30.0)], "l2": [scores("all", 40.0)]}
    natural, ours, paper, *attacked = map(said, compared_tables(named))
    assert natural == [
        {"metric": "ours", "all": "60.00", "blur": "30.00"},
        {"metric": "l2", "all": "40.00", "blur": "-"},
    ]
    assert ours[0] == {"metric": "ours", "0.5": "59.41", "1": "58.25"}
    assert paper[1] == {"metric": "l2", "0.5": "39.22", "1": "38.46"}
    assert [table[0] for table in attacked] == [
        {"metric": "ours", "natural": "60.00", "l2 1": "57.14", "linf 8/255": "55.56"},
        {"metric": "ours", "natural": "60.00", "l2 1": "56.60"},
        {"metric": "ours", "natural": "60.00", "l2 1": "56.07", "linf 8/255": "55.05"},
    ]
