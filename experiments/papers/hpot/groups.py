"""Figures 8 and 13 of Human Imperceptible Attacks: accuracy by group, and images by country."""

import csv
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types
import torch

from experiments.papers.item import (
    Compared,
    Findings,
    MissingDataError,
    Setting,
    StandIn,
    weights_file,
)
from experiments.papers.photographs import photographs
from experiments.papers.printed import HPOT_FIGURE_13, HPOT_SECTION_4
from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings
from percert.fairness.predictions import check_predictions
from percert.fairness.report import report_sections
from percert.images import load_image
from percert.models import load_classifier
from percert.reports.page import Figure
from percert.reports.plots import share_bars

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
        Compared(
            "F of the slope, the paper's covariance", HPOT_SECTION_4["f"], first.line.test.statistic
        ),
        Compared(
            "its denominator's degrees of freedom", HPOT_SECTION_4["f_df"][1], first.line.test.df[1]
        ),
        Compared("its p-value", HPOT_SECTION_4["f_p"], first.line.test.p_value),
        Compared("p-value, covariance between groups", None, others["between"].test.p_value),
        Compared("slope: accuracy for 0.1 more of luminance", None, first.line.slope / 10),
        Compared("groups", HPOT_SECTION_4["groups"], float(len(audit.table.n))),
    )
    (section, *_) = report_sections(audit)
    figures = tuple(block for block in section.blocks if isinstance(block, Figure))[:1]
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


#: What ``percert data geo`` writes, in DATA or in DATA/geo.
FILES = ("countries.csv", "images.csv")
SMALLEST, NAMED = 50, 5


def figure_13(setting: Setting) -> Findings:
    """Shares of images by country, from the table in the data folder."""
    path = _file(setting)
    counts = _counts(path)
    total = sum(counts.values())
    large = sum(count >= SMALLEST for count in counts.values())
    rows = [
        Compared("images", HPOT_FIGURE_13["images"], float(total)),
        Compared("countries", HPOT_FIGURE_13["countries"], float(len(counts))),
        Compared(
            f"countries with at least {SMALLEST} images", HPOT_FIGURE_13["large"], float(large)
        ),
        *(
            Compared(f"share of {name}", None, 100 * count / total, "%")
            for name, count in counts.most_common(NAMED)
        ),
    ]
    figure = Figure(
        share_bars({name: float(count) for name, count in counts.most_common()}),
        f"Shares of {total} images by country; those of less than 1 % together.",
        f"Bars of images by country, the longest {counts.most_common(1)[0][0]}",
    )
    words = (
        f"Counted in {path.name}, as percert data geo writes it: photographs that are gone from "
        "Flickr since, or have no place any more, are missing.",
        "The paper prints no shares. Its 41 groups are those of its F-test (39 degrees of freedom "
        "and two), which may leave out countries without a GDP.",
    )
    own = total == HPOT_FIGURE_13["images"]
    stand = StandIn(f"{HPOT_FIGURE_13['images']} images with a country", f"the {total} there are")
    return Findings(tuple(rows), words, (figure,), stands=() if own else (stand,))


def _file(setting: Setting) -> Path:
    folders = [] if setting.data is None else [setting.data, setting.data / "geo"]
    for folder in folders:
        for name in FILES:
            if (folder / name).is_file():
                return folder / name
    raise MissingDataError(
        "needs the countries of the images: put countries.csv of percert data geo into DATA/geo"
    )


def _counts(path: Path) -> Counter[str]:
    """Images by country. Raises ``ValueError`` for a table that does not say."""
    counts: Counter[str] = Counter()
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            name = row.get("group") or row.get("country")
            try:
                if name:
                    counts[name] += int(row["images"]) if path.name == FILES[0] else 1
            except (KeyError, ValueError, TypeError):
                raise ValueError(f"{path}: line {number}: expected a number of images") from None
    if not counts:
        raise ValueError(
            f"{path}: expected rows with group and images, or with country, found none"
        )
    return counts
