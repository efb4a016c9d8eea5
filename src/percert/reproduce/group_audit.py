"""Figure 8 of Human Imperceptible Attacks, its left half, on a question that can be asked here."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types
import torch

from percert.fairness.audit import audit_groups
from percert.fairness.audit_settings import AuditSettings
from percert.fairness.report import report_sections
from percert.fairness.table import check_predictions
from percert.images import load_image
from percert.models import load_classifier
from percert.reports.page import Figure
from percert.reproduce.item import Compared, Findings, Setting, weights_file
from percert.reproduce.photographs import photographs

GROUPS = 10
#: Twenty-five times ``--images`` photographs are classified: it is quick.
TIMES = 25
ATTRIBUTE = "luminance"


def figure_8(setting: Setting) -> Findings:
    """Does SqueezeNet's accuracy depend on how bright photographs are? Tenths of them as groups."""
    items = photographs(replace(setting, images=TIMES * setting.images))
    model = load_classifier("squeezenet1_0", setting.device, weights_file(setting))
    light, right = [], []
    for item in items:
        image = load_image(item.source)
        with torch.inference_mode():
            said = int(model(image[None].to(setting.device)).argmax())
        # The labels of this set count from 1.
        right.append(said == (item.label or 0) - 1)
        light.append(
            float(0.2126 * image[0].mean() + 0.7152 * image[1].mean() + 0.0722 * image[2].mean())
        )
    groups = _tenths(np.array(light))
    names = [item.name for item in items]
    frame = pd.DataFrame(
        {"model": "squeezenet1_0", "image": names, "group": groups, "correct": right}
    )
    attribute = frame.assign(**{ATTRIBUTE: light}).groupby("group")[[ATTRIBUTE]].mean()
    smallest = int(frame["group"].value_counts().min())
    audit = audit_groups(
        check_predictions(frame.astype({"correct": int})),
        attribute,
        settings=AuditSettings(
            smallest=smallest,
            covariances=("paper", "binomial", "between", "robust"),
            draws=0,
            seed=setting.seed,
        ),
    )
    (first, *_) = audit.lines
    others = {entry.line.covariance: entry.line for entry in audit.lines}
    rows = (
        Compared("F of the slope, the paper's covariance", 5.392, first.line.test.statistic),
        Compared("its denominator's degrees of freedom", 39, first.line.test.df[1]),
        Compared("its p-value", 0.02554, first.line.test.p_value),
        Compared("p-value, covariance between groups", None, others["between"].test.p_value),
        Compared("slope: accuracy for 0.1 more of luminance", None, first.line.slope / 10),
        Compared("groups", 41, float(len(audit.table.n))),
    )
    (section, *_) = report_sections(audit)
    figures = tuple(block for block in section.blocks if isinstance(block, Figure))
    return Findings(
        rows,
        (
            "Another question: tenths of photographs by their mean luminance, and not countries by "
            "GDP per capita. Numbers need not agree; the test is the same.",
            f"{len(items)} photographs in {len(audit.table.n)} groups of at least {smallest}, "
            "classified by SqueezeNet 1.0; 103,995 by ResNet-50 in groups of at least 50 in the "
            "paper.",
            "The right half of the figure takes two sets of 50 trained models.",
        ),
        figures,
    )


def _tenths(values: np.ndarray) -> list[str]:
    """Groups of about equal size, by rank; named such that they sort by value."""
    ends = (
        np.linspace(0, len(values), min(GROUPS, max(3, len(values) // 2)) + 1).round().astype(int)
    )
    names = [""] * len(values)
    order = np.argsort(values, kind="stable")
    for place, (start, end) in enumerate(pairwise(ends)):
        for row in order[start:end]:
            names[row] = f"tenth {place + 1:02d}"
    return names
