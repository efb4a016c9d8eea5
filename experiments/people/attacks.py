"""Attacks judged by people: how many would notice, as a predictor has it that shares nothing.

    python -m experiments people.attacks --data DATA --model efficientnet-lite0 \\
        --setting confidence-5 --limit 10 --runs out/people-attacks --out docs/results

Attacked are the classifiers, plainly and where more is asked of a change, so that it is large
enough to be seen, and lipsim-tiny, which is robust: it is to call the worse of two copies closer.
Every attack has the same goal, and is judged on files of 8 bits.
A run that was stopped goes on, one of more photographs goes on with one of fewer, and models,
settings and attacks can be measured one at a time: the page is of all that is in the folder.
"""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from experiments.conditions import conditions, write_result
from experiments.papers.costs import attack_of
from experiments.people import alma
from experiments.people.attacks_page import page
from experiments.people.attacks_report import BASELINE, numbers
from experiments.people.judge import JUDGE, fit_judge
from percert.attacks.attack import Attack
from percert.certify import twoafc
from percert.data.copy_edits import apply_edit, find_edit
from percert.files import write_whole
from percert.images import load_image
from percert.lipschitz.network import weights_hash
from percert.metrics.catalog import create_metric
from percert.models import load_classifier
from percert.reports import read_records
from percert.runs import (
    AttackPlan,
    ClassifierTask,
    ImageItem,
    RecordedMetric,
    RunFolder,
    Task,
    TripletTask,
    find_items,
    with_labels,
)
from percert.runs.attack_run import run_attacks

#: The classifiers, and the robust metric.
CLASSIFIERS = ("efficientnet-lite0", "squeezenet1_0")
ROBUST = "lipsim-tiny"
MEASURED = ("ssim", "mdsi", "seen", JUDGE)


@dataclass(frozen=True)
class Demand:
    """What is asked of an attack on a classifier beyond another class."""

    confidence: float = 0.0
    survive: str = ""
    least_likely: bool = False


SETTINGS = {
    "plain": Demand(),
    "confidence-5": Demand(confidence=5.0),
    "jpeg-75-and-4-bits": Demand(survive="jpeg-75+bits-4"),
    "least-likely-class": Demand(least_likely=True),
}
#: The one setting of the robust metric, and the edits that make a photograph's copies.
OWN_COPIES, COPIES = "own-copies", ("jpeg-70", "contrast-0.7")
#: The baseline, ours, and the rivals; those that take the least time first.
ATTACKS = (
    BASELINE,
    "ssim-sqp",
    "ssim-sqp:cost=seen",
    "human-perc-ot",
    "human-perc-ot:cost=mdsi",
    "ddn:steps=40",
    "fmn:steps=40",
    "lpa",
    "perc-al:steps=100",
    "alma",
    "ppgd",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", choices=(*CLASSIFIERS, ROBUST), action="append")
    parser.add_argument("--weights", type=Path, help="SqueezeNet's weights")
    parser.add_argument("--setting", choices=(*SETTINGS, OWN_COPIES), action="append")
    parser.add_argument("--attack", choices=ATTACKS, action="append")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=5)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    judge = fit_judge(options.data / "people" / "adversarials" / "pairs.csv", options.runs)
    attacks = options.attack or [name for name in ATTACKS if name != "alma" or alma.there()]
    for model in options.model or (*CLASSIFIERS, ROBUST):
        for setting in [OWN_COPIES] if model == ROBUST else SETTINGS:
            if options.setting is None or setting in options.setting:
                measure(options, model, setting, attacks)
    found: dict[str, Any] = {
        "conditions": asdict(conditions(seed=0)),
        "judge": {"metric": JUDGE, **asdict(judge)},
        "runs": {
            name: sorted(
                numbers(read_records(options.runs / name / "records.parquet"), judge),
                key=lambda one: ATTACKS.index(one["attack"]),
            )
            for name in (
                *(f"{model}-{setting}" for model in CLASSIFIERS for setting in SETTINGS),
                f"{ROBUST}-{OWN_COPIES}",
            )
            if (options.runs / name / "records.parquet").exists()
        },
    }
    if f"{ROBUST}-{OWN_COPIES}" in found["runs"]:
        found["proven_l2"] = proven_lengths(options)
    options.out.mkdir(parents=True, exist_ok=True)
    write_result(options.out / "people-attacks.json", found)
    (options.out / "people-attacks.md").write_text(page(found), encoding="utf-8")


def measure(options: argparse.Namespace, model: str, setting: str, attacks: list[str]) -> None:
    """Attack one model in one setting, as far as it has not been done."""
    folder = options.runs / f"{model}-{setting}"
    photographs = options.data / "imagenet-compatible"
    network: nn.Module
    task: Task
    if model == ROBUST:
        network = create_metric(ROBUST, device="cpu")
        task = TripletTask(network)
        items = with_copies(photographs / "images", options.runs / "copies", options.limit)
        settings: dict[str, Any] = {"copies": COPIES}
    else:
        demand = SETTINGS[setting]
        file = options.weights if model == "squeezenet1_0" else None
        network = load_classifier(model, "cpu", file)
        task = ClassifierTask(
            network,
            targeted=demand.least_likely,
            confidence=demand.confidence,
            survive=demand.survive,
        )
        items = labelled(photographs)[: options.limit]
        if demand.least_likely:
            items = least_likely(network, items, options.runs / f"{model}-least-likely.json")
        settings = asdict(demand)
    kept = run_attacks(
        RunFolder(
            folder,
            {"model": model, "weights_sha256": weights_hash(network), **settings},
            device="cpu",
            seed=0,
            command=["python", "-m", "experiments", "people.attacks"],
        ),
        task,
        AttackPlan(
            attacks={name: made(name, model) for name in attacks if fits(name, model)},
            measures={name: RecordedMetric(create_metric(name, device="cpu")) for name in MEASURED},
            batch_size=options.batch_size,
            save=False,
        ),
        items,
        progress=lambda what, done, total: print(
            f"{model}, {setting}: {what}: {done} of {total}", flush=True
        ),
    )
    for name, reason in (*kept.bad, *kept.failed):
        print(f"{model}, {setting}: {name}: {reason}", flush=True)


def proven_lengths(options: argparse.Namespace) -> list[float]:
    """The l2 length below which no change of each photograph turns the robust metric round."""
    rows = read_records(options.runs / f"{ROBUST}-{OWN_COPIES}" / "records.parquet")
    photographs = options.data / "imagenet-compatible" / "images"
    count = len({row["image"] for row in rows})
    metric = create_metric(ROBUST, device="cpu")
    return [
        twoafc(
            metric, *(load_image(path)[None] for path in (item.source, *item.others))
        ).radius.item()
        for item in with_copies(photographs, options.runs / "copies", count)
    ]


def fits(attack: str, model: str) -> bool:
    """Whether an attack is made for the model: ALMA takes classes."""
    return attack != "alma" or model != ROBUST


def made(name: str, model: str) -> Attack:
    """The attack; PPGD and LPA keep within AlexNet's features where the model is no classifier."""
    if name == "alma":
        return alma.ALMA()
    borrowed = model == ROBUST and name in ("lpa", "ppgd")
    return attack_of(f"{name}:metric=alexnet" if borrowed else name)


def labelled(photographs: Path) -> list[ImageItem]:
    """The photographs with their classes from 0; those of the file count from 1."""
    items = with_labels(
        find_items(photographs / "images"), photographs / "images.csv", label_column="TrueLabel"
    )
    return [replace(item, label=(item.label or 0) - 1) for item in items]


@torch.no_grad()
def least_likely(model: nn.Module, items: list[ImageItem], kept: Path) -> list[ImageItem]:
    """The items with the class that the model finds least likely as their target."""
    known: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
    for item in items:
        if item.name not in known:
            known[item.name] = int(model(load_image(item.source)[None]).argmin(1))
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_whole(kept, json.dumps(known) + "\n")
    return [replace(item, target=known[item.name]) for item in items]


def with_copies(images: Path, copies: Path, limit: int) -> list[ImageItem]:
    """Each photograph as a triplet with two copies of it, which are made; the first is closer."""
    found = []
    for place, item in enumerate(find_items(images)[:limit]):
        made = []
        for edit in COPIES:
            copy = copies / edit / Path(item.name).with_suffix(".png").name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists():
                with Image.open(item.source) as photograph:
                    apply_edit(find_edit(edit), photograph.convert("RGB"), 0, place).save(copy)
            made.append(copy)
        found.append(replace(item, label=0, others=tuple(made)))
    return found


if __name__ == "__main__":
    main()
