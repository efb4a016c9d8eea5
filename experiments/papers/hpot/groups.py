"""Figures 8 and 13 of Human Imperceptible Attacks: accuracy by group, and images by country."""

import csv
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types
import torch
from torch import Tensor, nn

from experiments.papers.item import (
    Compared,
    Findings,
    MissingDataError,
    Setting,
    StandIn,
    stands_of,
)
from experiments.papers.photographs import NETWORK, classifier_there, photographs
from experiments.papers.printed import HPOT_FIGURE_13, HPOT_SECTION_4
from percert.fairness.audit import audit_groups
from percert.fairness.audit_result import AuditSettings, GroupAudit
from percert.fairness.predictions import check_predictions
from percert.fairness.report import report_sections
from percert.images import load_image
from percert.models.card import shipped_card
from percert.reports.page import Figure
from percert.reports.plots import share_bars

GROUPS = 10
#: Of photographs that are only classified so many times ``--images`` are: it is quick.
TIMES = 25
#: Answers of two classifiers of faces, with ages, and the width of the groups in years.
FACES, YEARS = "audits/face-gender.csv.gz", 5
#: Tiny ImageNet as its authors pack it: so many times ``--images`` photographs of each class.
TINY, EACH = "tiny-imagenet-64", 5


@dataclass(frozen=True)
class Question:
    """A classifier's answers by groups, and the attribute that they may depend on.

    ``frame`` has model, image, group, correct and the column of the ``attribute``; a slope is told
    ``per`` so much of it.
    """

    name: str
    attribute: str
    frame: pd.DataFrame
    per: float
    here: str


def figure_8(setting: Setting) -> Findings:
    """Does accuracy depend on an attribute of groups? The paper's test on what data there are.

    Two classifiers of faces by age, and a classifier of classes by how bright their photographs
    are; where neither is there, the same classifier on tenths of photographs by brightness.
    """
    asked = [*_faces(setting), *_classes(setting)] or [_tenths_of_photographs(setting)]
    rows: list[Compared] = []
    figures: list[Figure] = []
    for question in asked:
        audit = _audited(question, setting.seed)
        (first, *_) = audit.lines
        others = {entry.line.covariance: entry.line for entry in audit.lines}
        of, paper = question.name, HPOT_SECTION_4
        test = first.line.test
        slope = f"{of}: slope, accuracy for {question.per:g} more of {question.attribute}"
        rows += [
            Compared(f"{of}: F of the slope, the paper's covariance", paper["f"], test.statistic),
            Compared(f"{of}: its denominator's degrees of freedom", paper["f_df"][1], test.df[1]),
            Compared(f"{of}: its p-value", paper["f_p"], test.p_value),
            Compared(
                f"{of}: p-value, covariance between groups", None, others["between"].test.p_value
            ),
            Compared(slope, None, question.per * first.line.slope),
            Compared(f"{of}: groups", paper["groups"], float(len(audit.table.n))),
        ]
        (section, *_) = report_sections(audit)
        figures += [block for block in section.blocks if isinstance(block, Figure)][:1]
    stands = [StandIn("countries by GDP per capita, 103,995 photographs", q.here) for q in asked]
    right = StandIn(
        "two sets of 50 models by Algorithms 2 and 3, of ImageNet",
        "nothing: python -m experiments fairness.dro --models 50 makes them of Tiny ImageNet "
        "(docs/results/dro-fairness.md)",
    )
    words = (
        "Read the same way: predictions by country with GDP per head, which percert data geo and "
        "percert audit groups --attributes take. What is found for ages and brightness says "
        "nothing of countries.",
    )
    return Findings(tuple(rows), words, tuple(figures), stands_of(stands, right))


def _audited(question: Question, seed: int) -> GroupAudit:
    frame, attribute = question.frame, question.attribute
    means = frame.groupby("group")[[attribute]].mean()
    smallest = min(SMALLEST, int(frame["group"].value_counts().min()))
    return audit_groups(
        check_predictions(frame.astype({"correct": int}).drop(columns=attribute)),
        means,
        settings=AuditSettings(
            smallest=smallest,
            covariances=("paper", "binomial", "between", "robust"),
            draws=0,
            seed=seed,
        ),
    )


def _faces(setting: Setting) -> list[Question]:
    """Each classifier of faces by age in fives of years, those of at least 50 photographs."""
    path = None if setting.data is None else setting.data / FACES
    if path is None or not path.is_file():
        return []
    faces = pd.read_csv(path)
    faces["group"] = [f"from {age // YEARS * YEARS:03d}" for age in faces["age"]]
    found = []
    for model, some in faces.groupby("model"):
        large = some.groupby("group")["group"].transform("size") >= SMALLEST
        kept = some[large][["model", "image", "group", "correct", "age"]]
        here = (
            f"{len(kept):,} photographs of faces by age, {kept['group'].nunique()} groups of "
            f"{YEARS} years, judged by {model} on gender"
        )
        found.append(Question(str(model), "age", kept, 10.0, here))
    return found


def _classes(setting: Setting) -> list[Question]:
    """The network that is attacked elsewhere, on the classes of Tiny ImageNet by brightness."""
    folder = None if setting.data is None else setting.data / TINY
    if folder is None or not (folder / "val" / "val_annotations.txt").is_file():
        return []
    places = tiny_classes(folder)
    model, network = classifier_there(setting)
    lines = (folder / "val" / "val_annotations.txt").read_text(encoding="utf-8").splitlines()
    told: list[dict[str, Any]] = []
    taken: Counter[str] = Counter()
    most = EACH * setting.images
    for name, wnid, *_ in (line.split("\t") for line in sorted(lines)):
        if wnid not in places or taken[wnid] >= most:
            continue
        taken[wnid] += 1
        setting.watch("classifying", len(told), most * len(places))
        image = load_image(folder / "val" / "images" / name)
        told.append({"image": name, "group": wnid, **_answer(setting, model, image, places[wnid])})
    frame = pd.DataFrame(told).assign(model=network)
    here = (
        f"{len(frame):,} photographs of Tiny ImageNet's validation set at 64 x 64, "
        f"{len(places)} classes by their mean luminance, judged by {network}"
    )
    return [Question(f"{network}, Tiny ImageNet", ATTRIBUTE, frame, 0.1, here)]


def tiny_classes(folder: Path) -> dict[str, int]:
    """Tiny ImageNet's classes by their place among ImageNet's 1,000, found by their names.

    A class whose name is none of them, or that of two, is left out.
    """
    listed = (folder / "words.txt").read_text(encoding="utf-8").splitlines()
    words = dict(line.split("\t") for line in listed)
    places: dict[str, list[int]] = {}
    for place, name in enumerate(shipped_card(NETWORK).class_names):
        for called in {name, name.split(",")[0]}:
            places.setdefault(called.lower(), []).append(place)
    found = {}
    for wnid in (folder / "wnids.txt").read_text(encoding="utf-8").split():
        name = words[wnid].lower()
        some = places.get(name) or places.get(name.split(",")[0]) or []
        if len(some) == 1:
            found[wnid] = some[0]
    return found


def _answer(setting: Setting, model: nn.Module, image: Tensor, label: int) -> dict[str, Any]:
    with torch.inference_mode():
        said = int(model(image[None].to(setting.device)).argmax())
    light = 0.2126 * image[0].mean() + 0.7152 * image[1].mean() + 0.0722 * image[2].mean()
    return {"correct": said == label, ATTRIBUTE: float(light)}


ATTRIBUTE = "luminance"


def _tenths_of_photographs(setting: Setting) -> Question:
    items = photographs(replace(setting, images=TIMES * setting.images))
    model, network = classifier_there(setting)
    told = [
        # The labels of this set count from 1.
        {
            "image": item.name,
            **_answer(setting, model, load_image(item.source), (item.label or 0) - 1),
        }
        for item in items
    ]
    frame = pd.DataFrame(told).assign(model=network)
    frame["group"] = _tenths(frame[ATTRIBUTE].to_numpy())
    here = (
        f"{len(items)} photographs of the ImageNet-Compatible set, in tenths by their mean "
        f"luminance, judged by {network}"
    )
    return Question(network, ATTRIBUTE, frame, 0.1, here)


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
