"""Covariates, categories, intersections and strata in the audit as a whole."""

import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings
from percert.fairness.predictions import check_predictions
from percert.fairness.report import write_report

COUNT = 12
NAMES = [f"g{place:02d}" for place in range(COUNT)]


def attributes(seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"gdp": np.linspace(7, 11, COUNT), "light": rng.normal(size=COUNT)},
        pd.Index(NAMES, name="group"),
    )
    return frame.assign(continent=np.array(["Africa", "Asia", "Europe"] * 4, object))


def predictions(models=1, slope=0.4, seed=0, images=150, **checked):
    rng = np.random.default_rng(seed)
    rows = []
    for model in range(models):
        for place, name in enumerate(NAMES):
            label = rng.integers(0, 4, images)
            odds = 0.5 + slope * (place / 5 - 1) + 0.4 * (label - 1.5)
            right = rng.random(images) < 1 / (1 + np.exp(-odds))
            rows += [
                (f"m{model}", f"{name}/{i}", name, str(kind), int(ok), "fm"[i % 2], "ab"[place % 2])
                for i, (kind, ok) in enumerate(zip(label, right, strict=True))
            ]
    columns = ["model", "image", "group", "kind", "correct", "sex", "camera"]
    frame = pd.DataFrame(rows, columns=columns)
    if models > 1:  # all models are judged on the same images
        frame["kind"] = frame["image"].map(frame[frame["model"] == "m0"].set_index("image")["kind"])
    return check_predictions(frame, **checked)


def test_covariates_are_allowed_for_and_not_tested(tmp_path):
    settings = AuditSettings(draws=20, covariates=("light", "continent"))
    audit = audit_groups(predictions(), attributes(), settings=settings)
    assert audit.attributes == ("gdp",)
    (line,) = audit.joint
    assert [(term.name, term.tested) for term in line.terms] == [
        ("gdp", True), ("light", False), ("continent", False),
    ]  # fmt: skip
    shares = audit.table.accuracy["m0"].to_numpy()
    frame = attributes().assign(y=shares)
    weights = 1 / (line.between**2 + shares.mean() * (1 - shares.mean()) / 150)
    fit = smf.wls("y ~ gdp + light + C(continent)", frame, weights=weights).fit()
    assert line.terms[0].slope == pytest.approx(fit.params["gdp"])
    write_report(audit, tmp_path)
    page = (tmp_path / "report.html").read_text()
    for words in ("Attributes beside each other", "held fixed", "Groups by continent"):
        assert words in page
    json.dumps(audit.to_dict(), allow_nan=False)


def test_a_category_is_tested_without_a_line():
    found = audit_groups(
        predictions(), attributes()[["continent"]], settings=AuditSettings(draws=20)
    )
    assert found.attributes == ()
    assert found.lines == ()
    (term,) = found.joint[0].terms
    assert [entry.name for entry in term.categories] == ["Africa", "Asia", "Europe"]
    assert term.test.df == (2.0, 9.0)
    assert term.test.null == "Across the groups, accuracy is the same for every continent."


def test_intersections_are_groups_and_their_parts_stand_beside_each_other():
    frame = predictions(by=("sex", "camera"))
    settings = AuditSettings(draws=20, by=("sex", "camera"))
    audit = audit_groups(frame, settings=settings)
    assert audit.table.n.index.tolist() == ["f / a", "f / b", "m / a", "m / b"]
    (line,) = audit.joint
    assert [term.name for term in line.terms] == ["sex", "camera"]
    share, n = audit.table.accuracy["m0"], audit.table.n
    pool = (share * n).sum() / n.sum()
    unlike = share["f / a"] - share["f / b"] - share["m / a"] + share["m / b"]
    assert line.beyond[0] == pytest.approx(unlike**2 / (pool * (1 - pool) * (1 / n).sum()))
    assert line.beyond[1] == 1


def test_strata_are_compared_within_and_the_line_follows(tmp_path):
    frame = predictions(2, strata=("kind",))
    settings = AuditSettings(draws=20, strata=("kind",))
    audit = audit_groups(frame, attributes()[["gdp"]], settings=settings)
    assert set(audit.mixes) == {"m0", "m1"}
    assert audit.joint[0].strata == ("kind",)
    first = audit.mixes["m0"]
    fit = smf.ols("correct ~ C(group) + C(stratum)", frame[frame["model"] == "m0"]).fit()
    gap = first.share[-1] - first.share[0]
    assert gap == pytest.approx(fit.params["C(group)[T.g11]"])
    write_report(audit, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Within kind the groups of m0 differ in accuracy" in page
    assert "with the mix of kind held fixed" in page


def test_many_models_are_summed_up(tmp_path):
    settings = AuditSettings(draws=0, covariates=("light",))
    audit = audit_groups(predictions(14), attributes()[["gdp", "light"]], settings=settings)
    write_report(audit, tmp_path)
    assert "All columns in one regression, of 14 models." in (tmp_path / "report.html").read_text()


def test_columns_that_say_the_same_are_a_note_and_stop_nothing():
    given = attributes()[["gdp"]].assign(dollars=2 * attributes()["gdp"])
    audit = audit_groups(predictions(), given, settings=AuditSettings(draws=0))
    assert audit.joint == ()
    assert any("the other columns determine it" in note for note in audit.notes)
    assert len(audit.lines) == 8


def test_sets_are_compared_on_numbers_only():
    given = attributes()[["continent"]]
    with pytest.raises(ValueError, match="no attribute that is a number"):
        audit_groups(predictions(3), given, against=predictions(3, seed=1))
