"""The first sheet of the report: what it says follows from the numbers, and it fits a page."""

import shutil

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings
from percert.fairness.next_steps import not_to_conclude, numbers_table, to_collect, to_try
from percert.fairness.planning import images_for_gap
from percert.fairness.predictions import check_predictions
from percert.fairness.regression import fit_line
from percert.fairness.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def predictions(shares, images, labels=False):
    rows = [
        (f"{group}/{i}", group, int(i < round(share * size)))
        for (group, share), size in zip(shares.items(), images, strict=True)
        for i in range(size)
    ]
    frame = pd.DataFrame(rows, columns=["image", "group", "correct"]).assign(model="m")
    if labels:
        frame["label"] = np.arange(len(frame)) % 2
        frame["prediction"] = np.where(frame["correct"], frame["label"], 1 - frame["label"])
    return check_predictions(frame)


def audited(shares, images, attribute=None, labels=False, **settings):
    given = None
    if attribute is not None:
        given = pd.DataFrame({"gdp": attribute}, pd.Index(shares, name="group"))
    frame = predictions(shares, images, labels)
    return audit_groups(frame, given, settings=AuditSettings(draws=50, **settings))


def test_groups_that_differ_are_looked_at_and_none_is_called_the_worst():
    audit = audited({"a": 0.5, "b": 0.52, "c": 0.9}, [400, 100, 400], labels=True)
    tried = " ".join(to_try(audit))
    assert "may be the lowest (a, b)" in tried
    assert "Compare within classes" in tried
    assert "fair within a margin" not in tried
    assert "That a is the lowest group: 2 may be." in not_to_conclude(audit)


def test_too_few_images_are_counted_by_the_plan():
    audit = audited({"a": 0.8, "b": 0.82}, [100, 5000])
    needed = images_for_gap(2, (80 + 4100) / 5100, 0.05)
    (point, *_) = to_collect(audit)
    assert f"takes {needed:,} images a group. 1 of 2 have fewer" in point
    assert point.endswith("the smallest: a.")
    assert any("fair within a margin" in entry for entry in to_try(audit))


def test_enough_images_ask_for_none():
    assert to_collect(audited({"a": 0.8, "b": 0.82}, [9000, 9000])) == []


def test_a_line_that_the_groups_hide_takes_groups():
    shares = {f"g{k}": 0.5 + 0.3 * (-1) ** k + 0.01 * k for k in range(8)}
    audit = audited(shares, [4000] * 8, attribute=np.arange(8.0))
    assert any(
        "No number of images finds a change of 0.05 along gdp" in p for p in to_collect(audit)
    )
    assert "That there is no dependence: not found is not shown to be absent." in not_to_conclude(
        audit
    )


def test_the_numbers_are_those_of_the_model_that_is_drawn():
    shares = {f"g{k}": 0.5 + 0.04 * k for k in range(8)}
    audit = audited(shares, [300] * 8, attribute=np.arange(8.0), margin=0.4)
    rows = {row[0]: row[1:] for row in numbers_table(audit).rows}
    line = fit_line(np.array(list(shares.values())), np.arange(8.0), np.full(8, 300.0))
    assert rows["slope on gdp"][0] == f"{line.slope:+.4g}"
    assert rows["slope on gdp"][2] == f"{line.test.p_value:.4g}"
    assert rows["worst group accuracy (g0)"][0] == "0.5000"


@pytest.mark.parametrize("covariance", ["equal", "binomial", "paper", "robust"])
def test_the_band_is_that_of_statsmodels(covariance):
    rng = np.random.default_rng(0)
    x, n = 1e9 + 1e6 * rng.normal(size=15), rng.integers(50, 900, 15).astype(float)
    y = 0.7 + 0.05 * rng.normal(size=15)
    weights = {"binomial": n, "paper": np.sqrt(n)}.get(covariance, np.ones(15))
    centred = (x - 1e9) / 1e6
    fit = sm.WLS(y, sm.add_constant(centred), weights=weights)
    fit = fit.fit(cov_type="HC3", use_t=True) if covariance == "robust" else fit.fit()
    at = np.linspace(-2, 2, 5)
    ends = fit.get_prediction(sm.add_constant(at)).conf_int()
    band = fit_line(y, x, n, covariance=covariance).band
    assert band.reach(1e9 + 1e6 * at) == pytest.approx((ends[:, 1] - ends[:, 0]) / 2, rel=1e-6)


def test_the_band_covers_the_line_of_groups_that_differ():
    rng = np.random.default_rng(1)
    x, n = rng.normal(size=12), np.round(50 * 20 ** rng.random(12))
    held = 0
    for _ in range(250):
        true = 0.7 + 0.05 * x
        y = rng.binomial(n.astype(int), np.clip(true + 0.04 * rng.normal(size=12), 0, 1)) / n
        line = fit_line(y, x, n)
        held += abs(line.intercept + line.slope - 0.75) < line.band.reach(np.array([1.0]))[0]
    assert held / 250 == pytest.approx(0.95, abs=0.035)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_first_sheet_of_the_print_is_one_page_and_nothing_is_cut_off(tmp_path):
    from playwright.sync_api import sync_playwright

    shares = {f"country {k:02d}": 0.5 + 0.01 * k for k in range(41)}
    audit = audited(shares, [60 + 20 * k for k in range(41)], np.linspace(7, 11, 41), labels=True)
    write_report(audit, tmp_path)
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = opened.new_page(viewport={"width": 688, "height": 1024})  # 182 mm at 96 dpi
        page.goto((tmp_path / "report.html").as_uri())
        page.emulate_media(media="print")
        bottom = page.evaluate("document.querySelector('.sheet').getBoundingClientRect().bottom")
        widest = page.evaluate("document.documentElement.scrollWidth")
        pdf = page.pdf(prefer_css_page_size=True)
        opened.close()
    assert bottom <= 1024  # 271 mm
    assert widest <= 688
    assert pdf.startswith(b"%PDF")
