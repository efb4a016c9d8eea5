"""Several metrics side by side, from scores written by hand."""

from percert.evaluation.twoafc.report import compared_tables
from percert.evaluation.twoafc.scores import AttackedScore, CertifiedScore, TwoAFCScores

PGD, APGD = "pgd:norm=l2,eps=1", "apgd:loss=margin,norm=l2,eps=1"


def scores(name, natural, certified, attacked):
    entries = [
        AttackedScore("l2", 1.0, attacked, min(attacked.values()), certified[0]),
        AttackedScore("linf", 0.01, {"pgd:norm=linf,eps=0.01": 0.4}, 0.4, None),
    ]
    proven = [CertifiedScore(0.5, *certified)]
    return TwoAFCScores(name, 4, natural, 0, None, proven, entries)


def test_a_row_a_metric_a_table_an_attack():
    named = {
        "ours": [
            scores("all", 0.75, (0.5, 0.25), {PGD: 0.6, APGD: 0.5}),
            scores("imagenet", 1.0, (0.5, 0.25), {PGD: 0.6}),
        ],
        "ssim": [scores("all", 0.5, (None, None), {PGD: 0.1})],
    }
    natural, exact, paper, pgd, apgd, worst = compared_tables(named)
    assert [heading for heading, _ in natural.columns] == ["metric", "all", "imagenet"]
    assert natural.rows == (("ours", "75.00", "100.00"), ("ssim", "50.00", "-"))
    assert exact.rows == (("ours", "50.00"),)
    assert paper.rows == (("ours", "25.00"),)
    assert [heading for heading, _ in pgd.columns] == ["metric", "natural", "l2 1", "linf 0.01"]
    assert pgd.rows == (("ours", "75.00", "60.00", "40.00"), ("ssim", "50.00", "10.00", "40.00"))
    assert apgd.rows == (("ours", "75.00", "50.00"),)  # ssim was not attacked by it
    assert worst.rows[0] == ("ours", "75.00", "50.00", "40.00")
    assert worst.caption.endswith("worst of all.")
