"""How long attacks take, and what is gained by letting finished images leave the batch.

    python -m experiments attacks.speed --data ../shared/data --weights FILE --out docs/results

Every attack takes the same batch of photographs, by turns, several rounds; medians are given. On a
CPU SqueezeNet is attacked; ``--device cuda`` takes a ResNet-50 of timm with random weights as well.

Without compaction a loop goes on over the whole batch until its last image is done. What that would
take is the number of iterations times the measured time of one gradient step on the whole batch.
"""

import argparse
import csv
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.conditions import conditions, write_result
from percert.attacks import Untargeted, parse_attack, run_attack
from percert.attacks.steps import gradient
from percert.images import load_image
from percert.models import load_classifier
from percert.reports.table import Column, Table
from percert.tensors import Images, Labels

#: What is timed, with as many steps as the published table has.
ATTACKS = (
    "ascent",
    "pgd:eps=1,stop=false",
    "apgd:eps=1,steps=40,stop=false",
    "ddn:steps=40",
    "fmn:steps=40",
    "perc-al:steps=40",
    "human-perc-ot-literal",
    "human-perc-ot",
    "ssim-sqp",
)
#: Those that drop an image as soon as it is adversarial: the only ones with something to gain.
DROPPING = ("ascent:step=0.02,rescale_steps=0", "pgd:norm=linf,eps=0.0157,step=0.0002,steps=40")


@dataclass
class AttackTiming:
    """Seconds an image, round by round, and images passed forward an image."""

    attack: str
    seconds: list[float] = field(default_factory=list)
    calls: float = 0.0


@dataclass(frozen=True)
class Compaction:
    """``passes`` of images were made by the loop, ``whole`` would have been made without dropping.

    ``seconds`` were measured; ``seconds_whole`` is iterations times a step on the whole batch.
    """

    attack: str
    passes: int
    whole: int
    seconds: float
    seconds_whole: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--dropping", type=int, default=16, help="images for the second table")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    model = load_classifier("squeezenet1_0", options.device, options.weights)
    images, labels = photographs(options.data / "imagenet-compatible", model, options.images)
    timings = time_attacks(model, images, labels, options.rounds)
    more, known = photographs(options.data / "imagenet-compatible", model, options.dropping)
    spared = [compaction(spec, model, more, known) for spec in DROPPING]
    result = {
        "conditions": asdict(conditions(seed=0)),
        "device": str(images.device),
        "images": len(images),
        "rounds": options.rounds,
        "dropping_images": len(more),
        "timings": [asdict(one) for one in timings],
        "compaction": [asdict(one) for one in spared],
    }
    if images.is_cuda:
        import timm

        large = timm.create_model("resnet50", pretrained=False).eval().to(images.device)
        with torch.no_grad():
            guessed = large(images).argmax(1)
        result["resnet50"] = [
            asdict(one) for one in time_attacks(large, images, guessed, options.rounds)
        ]
    options.out.mkdir(parents=True, exist_ok=True)
    write_result(options.out / f"attack-speed-{images.device.type}.json", result)
    page = report(result)
    (options.out / f"attack-speed-{images.device.type}.md").write_text(page)
    print(page)


def photographs(folder: Path, model: nn.Module, count: int) -> tuple[Images, Labels]:
    """The first ``count`` photographs that the model has right, and their labels from 0."""
    device = next(model.parameters()).device
    found, labels = [], []
    with open(folder / "images.csv", newline="") as listed:
        for row in csv.DictReader(listed):
            image = load_image(folder / "images" / f"{row['ImageId']}.png").to(device)
            label = int(row["TrueLabel"]) - 1
            with torch.no_grad():
                if model(image[None]).argmax(1).item() == label:
                    found.append(image)
                    labels.append(label)
            if len(found) == count:
                break
    return torch.stack(found), torch.tensor(labels, device=device)


def time_attacks(
    model: nn.Module, images: Images, labels: Labels, rounds: int
) -> list[AttackTiming]:
    timings = [AttackTiming(spec) for spec in ATTACKS]
    for _ in range(rounds):
        for timing in timings:
            attack = parse_attack(timing.attack)[1]
            goal = Untargeted(labels)
            one = run_attack(model, images, goal, attack, batch_size=len(images))
            timing.seconds.append(one.seconds / len(images))
            timing.calls = one.model_calls / len(images)
    return timings


def compaction(spec: str, model: nn.Module, images: Images, labels: Labels) -> Compaction:
    left: list[int] = []

    def watch(done: int, total: int, active: int) -> bool:
        left.append(active)
        return True

    attack, goal = parse_attack(spec)[1], Untargeted(labels)
    one = run_attack(model, images, goal, attack, batch_size=len(images), watch=watch)
    left = [active for active in left if active]
    step = []
    for _ in range(5):
        began = time.perf_counter()
        gradient(model, images, goal, lambda scores: goal.loss(scores, "margin"))
        step.append(time.perf_counter() - began)
    whole = statistics.median(step) * len(left)
    return Compaction(spec, sum(left), len(left) * len(images), one.seconds, whole)


def report(result: Mapping[str, Any]) -> str:
    """The page of a result, as its JSON has it."""
    timed: list[Column[Mapping[str, Any]]] = [
        Column("attack", lambda one: f"`{one['attack']}`"),
        Column("s/image", lambda one: statistics.median(one["seconds"]), ".2f"),
        Column("calls", itemgetter("calls"), ".1f"),
    ]
    gained: list[Column[Mapping[str, Any]]] = [
        Column("attack", lambda one: f"`{one['attack']}`"),
        Column("image passes", itemgetter("passes"), "d"),
        Column("without", itemgetter("whole"), "d"),
        Column("seconds", itemgetter("seconds"), ".1f"),
        Column("without", itemgetter("seconds_whole"), ".1f"),
        Column("gain", lambda one: one["seconds_whole"] / one["seconds"], ".1f"),
    ]
    return (
        "# Attacks: time\n\nSeconds an image (median of the rounds) and images passed forward:\n\n"
        + Table.of(result["timings"], timed).markdown()
        + "\nFinished images leave the batch. Without that, a loop lasts until the last:\n\n"
        + Table.of(result["compaction"], gained).markdown()
        + f"\nSqueezeNet at 299 px, CPU threads: {result['conditions']['threads']}. Of the first "
        f"table: {result['images']} photographs in one batch, rounds: {result['rounds']}; of the "
        f"second: {result['dropping_images']} photographs. Where most images are done after the "
        "same few steps, nothing is gained.\n"
    )


if __name__ == "__main__":
    main()
