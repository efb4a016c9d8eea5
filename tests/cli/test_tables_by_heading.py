"""Every table on the terminal says under each heading what was computed of that name.

All values differ, so that no two columns, rows or names can change places unseen.
"""

import importlib
from types import SimpleNamespace

import pytest
from tests.evaluation import distinct
from tests.reports.tables import made, rows_by_heading, said

from percert.audit import AttackAudit, AuditReport
from percert.certify.answers import Comparison
from percert.cli import output
from percert.evaluation.attack_runs.compare import AttackNumbers, title
from percert.evaluation.attack_runs.defences import (
    Survival,
    Transfer,
    survival_table,
    transfer_table,
)
from percert.evaluation.attack_runs.report import medians, ratios_table
from percert.evaluation.attack_runs.run import summary_table
from percert.evaluation.attack_runs.saliency import DISTANCES
from percert.evaluation.copies.report import results_shown
from percert.images.insets import Inset
from percert.reports import AttackSummary
from percert.reports.table import Table
from percert.search.query.results import InsetCopies, Match, PartnerAnswer, PartnerMatch
from percert.search.query.rule import Rule


@pytest.fixture
def shown(monkeypatch):
    """``shown(name, ...)`` calls a function of ``percert.cli``: its tables as rows by heading."""

    def call(name, *arguments):
        module, _, function = name.partition(":")
        module = importlib.import_module(f"percert.cli.{module}")
        tables = []

        def keep(table):
            tables.append(said(table))

        monkeypatch.setattr(module, "show_table", keep)
        getattr(module, function)(*arguments)
        return tables

    return call


def test_what_is_printed_stands_under_its_heading(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    columns = (("name", "left"), ("first", "right"), ("second", "right"))
    output.show_table(Table(columns, (("a.png", "1.0", "22"), ("[b].png", "300", "4"))))
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in (head, *lines)] == [
        ["name", "first", "second"],
        ["a.png", "1.0", "22"],
        ["[b].png", "300", "4"],
    ]
    assert {line.rindex(line.split()[1]) + len(line.split()[1]) for line in (head, *lines)} == {
        head.index("first") + len("first")
    }


def test_compare(shown):
    (table,) = shown(
        "compare:explain",
        "reference.png",
        [Comparison("a.png", 0.1234, 2.0, 0.05, 0.25, True, 3.5, (32, 48))],
        "thumbnail",
        0.3,
        "candidate",
    )
    (row,) = table
    assert row["candidate"] == "a.png"
    assert row["distance"] == "0.1234"
    assert row["stays within"] == "0.0500 - 0.2500"
    assert row["copy"] == "yes"
    assert row["radius l2"] == "3.50"
    assert row["PSNR"] == ">= 25.8 dB"  # 10 log10(3 * 32 * 48 / 3.5^2) = 25.75


MATCH = Match(
    id="x", path="a.png", paths=("a.png",), view="whole", distance=0.11, lower=0.05, upper=0.22,
    certain=True, radius=3.5, threshold=0.33,
)  # fmt: skip
FOUND = {
    "image": "a.png", "distance": "0.1100", "stays within": "0.0500 - 0.2200", "view": "whole",
}  # fmt: skip


PARTNER = PartnerAnswer(
    "sscd", "abc", 5e-4, True, "strangers", 3, 0,
    (PartnerMatch("b", "b.png", ("b.png",), 0.33, 0.44, True),),
)  # fmt: skip


def test_index_search(shown):
    answer = SimpleNamespace(
        query="q.png",
        k=5,
        results=(MATCH,),
        radius_first=1.0,
        radius_top_k=2.0,
        candidates=None,
        partner=None,
    )
    assert shown("index_show:show_nearest", answer) == [[FOUND | {"stays in the first 5": "3.50"}]]


def test_index_copies(shown):
    answer = SimpleNamespace(
        query="q.png", certain=(MATCH,), possible=(MATCH,), rule=Rule(0.3, wrong=1e-6), eps=1.0,
        results=(MATCH,), partner=PARTNER, verdict="certain",
        insets=(InsetCopies(Inset(1, 2, 30, 40), ()), InsetCopies(Inset(5, 6, 70, 80), (MATCH,))),
    )  # fmt: skip
    found = FOUND | {"radius l2": "3.50", "copies up to": "0.3300", "certain": "yes"}
    assert shown("index_show:show_copies", answer) == [
        [found],
        [found],
        [{"image": "b.png", "distance": "0.3300", "its threshold": "0.4400", "found": "yes"}],
    ]


def test_attack():
    summary = made(AttackSummary,
        attack="ours", images=9, attacked=8, success=0.75, success_8bit=0.5,
        mean={"l2": 1.1, "ssim": 2.2}, median={"l2": 3.3, "ssim": 4.4}, seconds=5.5,
        model_calls=66.0,
    )  # fmt: skip
    table = summary_table([summary], ["l2", "ssim"])
    assert rows_by_heading(table.columns, table.rows) == [
        {"attack": "ours", "attacked": "8 of 9", "success": "75.0 %", "8-bit": "50.0 %",
         "l2": "3.3", "ssim": "4.4", "s/image": "5.5", "calls": "66"}
    ]  # fmt: skip


def test_eval_attacks():
    found = distinct.evaluation()
    numbers, ratios = (
        said(medians(found.own, found.distances, effort=True)),
        said(ratios_table(found)),
    )
    assert numbers[0] == {
        "attack": "ours", "images": "210", "success": "21.0 %", "8-bit": "10.5 %", "L2": "213",
        "DISTS": "313", "s/image": "220", "calls": "240",
    }  # fmt: skip
    assert ratios == [
        {"attack": "ours", "images": "7", "L2": "0.11", "DISTS": "0.22", "seconds": "0.33",
         "calls": "0.55"}
    ]  # fmt: skip


def test_eval_defences():
    entries = [Survival("ours", "jpeg", 10, 8, 6), Survival("ours", "bits", 10, 8, 3)]
    assert said(survival_table(entries)) == [
        {"attack": "ours", "images": "10", "jpeg": "0.60", "bits": "0.30"}
    ]


def test_eval_transfer():
    entries = [
        Transfer("ours", "squeeze", "squeeze", 10, 8, 6),
        Transfer("ours", "squeeze", "vgg", 10, 5, 1),
    ]
    assert said(transfer_table(entries)) == [
        {"attack": "ours", "made against": "squeeze", "squeeze": "0.75 of 8", "vgg": "0.20 of 5"}
    ]


def test_eval_saliency():
    spreads = {name: distinct.spread(10.0 * place) for place, name in enumerate(DISTANCES, 1)}
    numbers = made(AttackNumbers, attack="ours", attacked=8, distances=spreads)
    expected = {title(name): str(10 * place + 3) for place, name in enumerate(DISTANCES, 1)}
    assert said(medians([numbers], DISTANCES)) == [{"attack": "ours", "images": "8"} | expected]


def test_eval_copies():
    ours = distinct.detector("ours", 0.0, proven=True)
    phash = distinct.detector("phash", 0.04, proven=False)
    shown, *_ = results_shown([ours, phash])
    table = rows_by_heading(shown.columns, shown.rows)
    assert table[0] == {
        "detector": "ours", "TPR at 0.001": "0.701", "TPR at 0.01": "0.801",
        "threshold": "0.401", "found": "0.501", "certified at 1": "0.301",
        "certified at 2": "0.201",
    }  # fmt: skip
    assert table[1]["found"] == "0.541"
    assert table[1]["certified at 1"] == "-"


def test_train_adversarial_dataset(shown, tmp_path):
    entry = {
        "round": 1, "images": 22, "wrong": 3, "spared": 4, "attacked": 15, "centres": 2,
        "succeeded": 13, "cost": 0.5, "attack_seconds": 6.5, "step_seconds": 7.5,
        "clean_accuracy": 0.91, "held_out_accuracy": 0.88, "attacked_accuracy": None,
    }  # fmt: skip
    answer = {"rounds": [entry], "images": 35, "clean": 22}
    assert shown("train_adversarial:_show", answer, tmp_path) == [
        [
            {"round": "1", "images": "22", "wrong before": "3", "spared": "4",
             "attacked": "15 + 2 centres", "adversarial": "13", "median cost": "0.5",
             "clean": "0.910", "held out": "0.880", "held out, attacked": "",
             "attack s": "6.5", "steps s": "7.5"}
        ]
    ]  # fmt: skip


def test_train_dro(shown, tmp_path):
    row = {"model": 1, "loss": 0.25, "accuracy": 0.75, "seconds": 3.5}
    assert shown("train_dro:_show", [row], tmp_path) == [
        [{"model": "1", "loss": "0.2500", "clean accuracy": "0.7500", "s": "3.5"}]
    ]


def test_report(shown, tmp_path):
    run = SimpleNamespace(name="runs/a", verb="eval twoafc", rows=[{}, {}])
    assert shown("eval_runs:_show", [run], tmp_path) == [
        [{"run": "runs/a", "command": "eval twoafc", "records": "2"}]
    ]


def test_data_geo(shown, tmp_path):
    from percert.fairness.geo.dataset import Country, GeoCounts

    counts = GeoCounts(**dict.fromkeys(GeoCounts.__dataclass_fields__, 1))
    dataset = SimpleNamespace(countries=(Country("DEU", 12, 50000.4, 2019, 10.8),), counts=counts)
    assert shown("data:_show", dataset, tmp_path) == [
        [{"country": "DEU", "images": "12", "GDP per capita": "50,000", "year": "2019"}]
    ]


def test_audit_network(shown):
    layer = SimpleNamespace(name="0", type="Conv", lower=0.25, upper=0.75, passed=True, note="")
    report = made(
        AuditReport, name="ours", layers=(layer,), attack=AttackAudit(5, 0, 1.0), reasons=()
    )
    assert shown("audit:_show", report) == [
        [{"layer": "0", "type": "Conv", "lower": "0.250000", "upper": "0.750000", "": "ok"}]
    ]


def test_lists(shown):
    from percert.attacks.catalog import CATALOG as ATTACKS
    from percert.metrics.catalog import CATALOG as METRICS

    (metrics,) = shown("catalogs:metrics")
    assert [row["metric"] for row in metrics] == list(METRICS)
    row = next(row for row in metrics if row["metric"] == "lipsim-tiny")
    card = METRICS["lipsim-tiny"]
    assert row == {
        "metric": "lipsim-tiny", "range": "0 - 2", "copies up to": f"{card.copy_threshold:g}",
        "proven bounds": "yes", "works at": "64 x 64", "what": card.summary,
    }  # fmt: skip
    (attacks,) = shown("catalogs:list_attacks")
    row = next(row for row in attacks if row["attack"] == "pgd")
    assert row == {
        "attack": "pgd", "kind": "bounded", "against": "classifier, triplet, embedding",
        "what": ATTACKS["pgd"].summary,
    }  # fmt: skip
