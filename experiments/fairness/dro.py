"""Does training on imperceptible attacks change who pays? Algorithms 2 and 3, and the audit.

    python -m experiments fairness.dro --data ../shared/data --work out/dro --out docs/results

Eight classes of Tiny ImageNet at 32 x 32, a small residual network theta_0; D made by Human_Perc_OT
and by PGD (Algorithm 2), beside D of the clean images alone; from each, models by Algorithm 3 that
all set out from theta_0. Groups are deciles of the test photographs' own luminance and, apart from
that, of their colourfulness: properties of the pixels, nothing about countries or people. All is
kept in ``--work``: a run that was stopped goes on. ``--models`` fewer gives the figures of those
that are there. Writes ``dro-fairness.json``, ``.md`` and ``.png``.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.conditions import conditions, write_result
from experiments.fairness.dro_report import audits, draw, write_markdown
from experiments.photographs import DEFAULT_DATA
from percert.attacks import Untargeted, iter_attack, parse_attack, run_attack
from percert.color import srgb_to_lab
from percert.files import replacing
from percert.metrics.catalog import create_metric
from percert.training.dro import DROSettings, RoundSettings, make_adversarial_dataset, train_models
from percert.training.dro.attack import AttackTally
from percert.training.dro.images import (
    TrainingImages,
    memory_images,
    read_training_images,
    to_float,
)
from percert.training.dro.train import full_spec, trainable_classifier
from percert.training.dro.weighting import Ints

CLASSES = tuple(range(0, 200, 25))
TRAIN, TEST, ATTACKED = 150, 250, 100
SPEC = full_spec("small-resnet:8", len(CLASSES))
ATTACKS = {
    "undefended": "",
    "pgd": "pgd:norm=l2,eps=1.0,steps=10",
    "human-perc-ot": "human-perc-ot:steps=40,polish=3,refresh=2,rescale_steps=5",
}
#: What all models are attacked by: neither side's own settings.
JUDGE = "pgd:norm=l2,eps=0.5,steps=10,random_start=false"
START = DROSettings(passes=30, learning_rate=0.1, momentum=0.9, batch=32, schedule="cosine")
ROUNDS = RoundSettings(rounds=3, learning_rate=0.1, batch=32, shard=300)
#: Every set sees as many images: T2 = 2 passes of as many draws as the adversarial D have.
DRO = DROSettings(passes=2, draws=4 * TRAIN * len(CLASSES), learning_rate=0.1, batch=32, seed=100)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--work", type=Path, default=Path("out/dro"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--models", type=int, default=20, help="models of each set")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    train, test = _photographs(options.data / "tiny-imagenet-32" / "train.parquet")
    say(f"{len(train)} photographs to train on, {len(test)} to judge by")
    start = _start(train, options.work)
    made = {name: _dataset(name, train, start, options.work) for name in ATTACKS}
    speedup = _speedup(train, start, options.work)
    took: dict[str, list[dict[str, Any]]] = {name: [] for name in ATTACKS}
    for number in range(options.models):
        # In turn: to be stopped early leaves as many of each.
        for name, dataset in made.items():
            took[name].append(_model(name, number, dataset, start, options.work))
            _judged(name, number, test, options.work)
    _judged("theta_0", 0, test, options.work)
    rows = {
        name: [_judged(name, number, test, options.work) for number in range(options.models)]
        for name in ATTACKS
    } | {"theta_0": [_judged("theta_0", 0, test, options.work)]}
    visible = {name: _visible(name, test, options.work) for name in [*ATTACKS, "theta_0"]}
    groups = _groups(test)
    result = {
        "conditions": asdict(conditions(0)),
        "settings": {
            "classes": list(CLASSES),
            "train_a_class": TRAIN,
            "test_a_class": TEST,
            "attacked_a_class": ATTACKED,
            "model": SPEC,
            "attacks": ATTACKS,
            "judged_by": JUDGE,
            "theta_0": asdict(START),
            "rounds": asdict(ROUNDS),
            "dro": asdict(DRO),
            "models": options.models,
        },
        "datasets": {name: _sums(options.work / f"D-{name}") for name in ATTACKS},
        "cluster_speedup": speedup,
        "model_cpu_seconds": {
            name: float(np.median([row["cpu_seconds"] for row in found]))
            for name, found in took.items()
        },
        "least_visible": visible,
        **audits(rows, groups, test.labels, ATTACKED_ROWS),
    }
    write_result(options.out / "dro-fairness.json", result)
    write_markdown(options.out / "dro-fairness.md", result)
    draw(options.out / "dro-fairness.png", result)
    say("done")


def say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


#: The test images are class after class; the first so many of each are attacked.
ATTACKED_ROWS = np.concatenate(
    [np.arange(ATTACKED) + place * TEST for place in range(len(CLASSES))]
)


def _photographs(path: Path) -> tuple[TrainingImages, TrainingImages]:
    """The first images of each class to train on, the next ones to judge by; labels from 0."""
    everything = read_training_images(path)
    of_class = [np.flatnonzero(everything.labels == label) for label in CLASSES]
    parts = []
    for rows, count in (
        ([found[:TRAIN] for found in of_class], TRAIN),
        ([found[TRAIN : TRAIN + TEST] for found in of_class], TEST),
    ):
        labels = np.repeat(np.arange(len(CLASSES)), count)
        parts.append(memory_images(everything.read(np.concatenate(rows)), labels))
    return parts[0], parts[1]


def _start(train: TrainingImages, work: Path) -> Path:
    """theta_0, trained on the clean images by Algorithm 3 itself."""
    dataset, _ = make_adversarial_dataset(
        trainable_classifier(SPEC), train, parse_attack("ascent")[1], work / "D-clean", _none()
    )
    for row in train_models(dataset, SPEC, work / "theta_0", [0], START):
        say(f"theta_0: {row}")
    return work / "theta_0" / "model-0000.safetensors"


def _none() -> RoundSettings:
    return RoundSettings(rounds=0, shard=ROUNDS.shard)


def _dataset(name: str, train: TrainingImages, start: Path, work: Path) -> Any:
    return _made(name, ATTACKS[name], ROUNDS if ATTACKS[name] else _none(), train, start, work)


def _made(
    name: str,
    attack: str,
    settings: RoundSettings,
    train: TrainingImages,
    start: Path,
    work: Path,
) -> Any:
    """D of one attack, and beside it what each round took, in seconds of this process."""
    model = trainable_classifier(SPEC, weights=start)
    before = [time.process_time()]
    rounds: dict[int, float] = {}

    def progress(number: int, done: int, total: int, tally: AttackTally) -> None:
        now = time.process_time()
        rounds[number] = rounds.get(number, 0.0) + now - before[0]
        before[0] = now
        if done == total:
            say(f"D-{name}: {tally}, {rounds[number]:.1f} s of CPU")

    dataset, tallies = make_adversarial_dataset(
        model,
        train,
        parse_attack(attack or "ascent")[1],
        work / f"D-{name}",
        settings,
        described={"attack": attack},
        progress=progress,
    )
    path = work / f"D-{name}" / "sums.json"
    if not path.exists():
        facts = dataset.facts
        path.write_text(
            json.dumps(
                {
                    "images": len(dataset),
                    "rounds": [
                        asdict(tally)
                        | {
                            "cpu_seconds": rounds.get(tally.round),
                            **_costs(facts, facts.round == tally.round),
                        }
                        for tally in tallies
                    ],
                }
            )
        )
    return dataset


def _costs(facts: Any, rows: Any) -> dict[str, float | None]:
    """Median 1 - SSIM from the clean photograph: all successes, spared ones, attacked ones."""

    def median(chosen: Any) -> float | None:
        return float(np.median(facts.cost[chosen])) if chosen.any() else None

    good = rows & facts.success
    return {
        "cost": median(good),
        "cost_spared": median(good & facts.spared),
        "cost_attacked": median(good & ~facts.spared),
    }


def _sums(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "sums.json").read_text())
    return found


def _speedup(train: TrainingImages, start: Path, work: Path) -> dict[str, Any]:
    """One round with clusters of about 5: the draws and models are those of the first round."""
    settings = RoundSettings(
        **{**asdict(ROUNDS), "rounds": 1, "cluster_size": 5.0, "cluster_by": "model"}
    )
    _made("clusters", ATTACKS["human-perc-ot"], settings, train, start, work)
    return {
        "without": _sums(work / "D-human-perc-ot")["rounds"][0],
        "with": _sums(work / "D-clusters")["rounds"][0],
    }


def _model(name: str, number: int, dataset: Any, start: Path, work: Path) -> dict[str, Any]:
    kept = work / f"models-{name}" / f"model-{number:04d}.json"
    if not kept.exists():
        began = time.process_time()
        for row in train_models(dataset, SPEC, kept.parent, [number], DRO, start=start):
            found = dict(row) | {"cpu_seconds": time.process_time() - began}
            kept.write_text(json.dumps(found))
            say(f"{name} {number}: accuracy on clean training images {row['accuracy']:.3f}")
    again: dict[str, Any] = json.loads(kept.read_text())
    return again


def _weights(name: str, number: int, work: Path) -> Path:
    folder = work / ("theta_0" if name == "theta_0" else f"models-{name}")
    return folder / f"model-{number:04d}.safetensors"


def _judged(name: str, number: int, test: TrainingImages, work: Path) -> dict[str, Ints]:
    """Predictions on all test images, and on the attacked ones after the attack."""
    path = work / "predictions" / f"{name}-{number:04d}.npz"
    if not path.exists():
        model = trainable_classifier(SPEC, weights=_weights(name, number, work))
        model.eval().requires_grad_(False)
        images = to_float(test.read(np.arange(len(test))), torch.device("cpu"))
        labels = torch.from_numpy(test.labels)
        with torch.inference_mode():
            clean = torch.cat([model(part).argmax(1) for part in torch.split(images, 250)])
        attacked = clean[ATTACKED_ROWS].clone()
        right = torch.from_numpy(np.flatnonzero((clean == labels).numpy()[ATTACKED_ROWS]))
        rows = torch.from_numpy(ATTACKED_ROWS)[right]
        for found in iter_attack(
            model, images[rows], Untargeted(labels[rows]), parse_attack(JUDGE)[1], batch_size=100
        ):
            with torch.inference_mode():
                attacked[right[found.index]] = model(found.verdict.images_8bit).argmax(1)
        with replacing(path) as waiting, open(waiting, "wb") as file:
            np.savez(file, clean=clean.numpy(), attacked=attacked.numpy())
    with np.load(path) as kept:
        return {"clean": kept["clean"], "attacked": kept["attacked"]}


def _visible(name: str, test: TrainingImages, work: Path, *, count: int = 60) -> dict[str, float]:
    """How visible the least visible attack found on the first model is: medians."""
    path = work / f"visible-{name}.json"
    if not path.exists():
        model = trainable_classifier(SPEC, weights=_weights(name, 0, work))
        model.eval().requires_grad_(False)
        rows = ATTACKED_ROWS[:: len(ATTACKED_ROWS) // (2 * count)]
        images = to_float(test.read(rows), torch.device("cpu"))
        labels = torch.from_numpy(test.labels[rows])
        with torch.inference_mode():
            right = (model(images).argmax(1) == labels).nonzero()[:count, 0]
        found = run_attack(
            model,
            images[right],
            Untargeted(labels[right]),
            parse_attack(ATTACKS["human-perc-ot"])[1],
            metrics={"ssim": create_metric("ssim")},
            batch_size=count,
        )
        good = found.verdict.success_8bit
        path.write_text(
            json.dumps(
                {
                    "images": len(right),
                    "success": float(good.float().mean()),
                    "ssim": float(found.verdict.distances["ssim"][good].median()),
                    "l2": float(found.verdict.distances["l2"][good].median()),
                }
            )
        )
    kept: dict[str, float] = json.loads(path.read_text())
    return kept


def _groups(test: TrainingImages) -> dict[str, Any]:
    """Deciles of the test photographs by luminance and by colourfulness."""
    images = to_float(test.read(np.arange(len(test))), torch.device("cpu"))
    luminance = srgb_to_lab(images)[:, 0].mean((1, 2)) / 100
    red, green, blue = images.unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], 1).flatten(2)
    # Hasler and Suesstrunk 2003: spread and mean of the opponent colours.
    colour = opponents.std(2).norm(dim=1) + 0.3 * opponents.mean(2).norm(dim=1)
    return {
        name: values.double().numpy()
        for name, values in (("luminance", luminance), ("colourfulness", colour))
    }


if __name__ == "__main__":
    main()
