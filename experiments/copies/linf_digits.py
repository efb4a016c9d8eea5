"""Certified non-evasion and non-collision in linf on MNIST, by a network trained on test digits.

    python -m experiments copies.linf_digits --data ../shared/data --out docs/results

As ``copies.linf_rates`` has them of photographs. A small network learns to know edits of the first
half of MNIST's test digits; the rates are of digits of the other half. Its thresholds let so many
pairs of different digits of the first half in. Writes ``linf-rates-mnist.json`` and ``.md``; the
training is kept in ``--work``, and not repeated.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.copies.linf_rates import LEVELS, radii
from experiments.photographs import DEFAULT_DATA
from percert import create_metric
from percert.certify.features import PixelFeatures, embed
from percert.certify.pairs import copies_of_features
from percert.data.labelled_images import Digits, read_mnist
from percert.images import Resize
from percert.lipschitz.architectures import TinyShape
from percert.lipschitz.network import weights_hash
from percert.metrics.certified.embedding import EmbeddingMetric, direction
from percert.reports.table import Column, Table
from percert.training.copies import CopiesRecipe, train_copies
from percert.training.copies.edits import EditStrength, random_edit
from percert.training.copies.pictures import PictureSource
from percert.training.copies.recipe import CopiesSchedule, CopyLoss
from percert.training.engine import Devices, start_fabric

HALF = 5000
#: Shares of the pairs of different digits that thresholds let in.
RATES = (1e-2, 1e-3, 1e-4)
NETWORK = TinyShape(width=48, depths=(1, 1), embedding=256, inner=128)
#: As people write: moved, turned, fainter, noisy; nothing is laid over digits.
EDITS = EditStrength(
    crop=0.85, crop_share=0.5, hard_share=0.3, degrees=15.0, hard=("rotate",), caption_share=0.0
)


@dataclass(frozen=True)
class DigitRates:
    """At one threshold, by :data:`LEVELS` / 255: shares of the digits of which it is proven.

    ``cner``: no change leaves the threshold of the digit itself. ``cncr``: none comes within that
    of another digit of the set; ``of_others``: of one of another class. ``alike`` is the share of
    digits that are within the threshold of one of another class as they are, ``found`` that of
    random edits, such as were trained on, that are within that of their own.
    """

    rate: float
    threshold: float
    found: float
    cner: list[float]
    cncr: list[float]
    of_others: list[float]
    alike: float


@dataclass(frozen=True)
class LinfDigits:
    """``least_linf`` is the least linf distance of two digits of different classes."""

    benchmark: str
    digits: int
    trained_on: int
    steps: int
    pictures: int
    weights: str
    least_linf: float
    seconds_training: float
    seconds_embedding: float
    seconds_evasion: float
    seconds_collision: float
    rates: list[DigitRates]
    conditions: Conditions


def recipe(steps: int, share: int) -> CopiesRecipe:
    """The training."""
    return CopiesRecipe(
        name="mnist-copies",
        data=(PictureSource("digits", share, side=2 * NETWORK.side, crop=0.9),),
        network=NETWORK,
        schedule=CopiesSchedule(steps=steps, triplets=0, learning_rate=1e-2, save_every=100),
        copies=CopyLoss(margin=4.0),
        edits=EDITS,
    )


def trained(digits: Digits, settings: CopiesRecipe, work: Path) -> tuple[EmbeddingMetric, float]:
    """The metric of the training on ``digits``, and its seconds; taken up where it stopped."""
    folder = work / "digits"
    folder.mkdir(parents=True, exist_ok=True)
    for at, picture in enumerate(digits.images):
        levels = (255 * picture).round().byte().permute(1, 2, 0).contiguous().numpy()
        if not (folder / f"{at:05}.png").exists():
            Image.fromarray(levels.astype(np.uint8)).save(folder / f"{at:05}.png")
    began = time.process_time()
    train_copies(settings, work, work / "run", start_fabric(Devices("cpu")), tensorboard=False)
    seconds = time.process_time() - began
    metric = create_metric(str(work / "run"), device="cpu")
    assert isinstance(metric, EmbeddingMetric)
    return metric.double(), seconds


def thresholds(metric: EmbeddingMetric, digits: Digits) -> list[float]:
    """Those that let :data:`RATES` of the pairs of different ``digits`` in."""
    with torch.no_grad():
        found = direction(metric.embed(digits.images.double()), metric.constant)
    near = (found @ found.T).triu(diagonal=1)
    pairs = near[torch.ones_like(near).triu(diagonal=1).bool()]
    tops = pairs.topk(round(max(RATES) * len(pairs))).values
    return [1 - float(tops[max(1, round(rate * len(pairs))) - 1]) for rate in RATES]


@torch.no_grad()
def edited_distances(metric: EmbeddingMetric, digits: Digits) -> Tensor:
    """The distance of a random edit of each digit from it."""
    side = 2 * NETWORK.side
    large = Resize((side, side), "bilinear")(digits.images).clamp(0, 1)
    edits = random_edit(large, large, large, EDITS, torch.Generator().manual_seed(7))
    return metric(digits.images.double(), edits.double())


def rates(
    features: PixelFeatures, labels: Tensor, away: Tensor, rate: float, threshold: float
) -> DigitRates:
    """All of one threshold; ``away`` are the distances of edits."""
    unit = math.sqrt(3 * 28 * 28) / 255
    evasion, collision = radii(features, threshold)
    _, others = radii(features, threshold, labels)

    def shares(found: Tensor) -> list[float]:
        return [float((found > level * unit).double().mean()) for level in LEVELS]

    alike = float((others == 0).double().mean())
    known = float((away <= threshold).double().mean())
    return DigitRates(
        rate, threshold, known, shares(evasion), shares(collision), shares(others), alike
    )


def least_linf(digits: Digits) -> float:
    """The least linf distance of two digits of different classes."""
    flat, least = digits.images[:, 0].flatten(1), math.inf
    for row, label in zip(flat, digits.labels, strict=True):
        other = flat[digits.labels != label]
        least = min(least, float((other - row).abs().amax(1).min()))
    return least


def report(result: LinfDigits) -> str:
    """The table, and what was measured."""

    def share(which: str, level: int) -> Callable[[DigitRates], float]:
        return lambda one: getattr(one, which)[LEVELS.index(level)]

    columns: list[Column[DigitRates]] = [
        Column("pairs let in", attrgetter("rate"), "g"),
        Column("threshold", attrgetter("threshold"), ".3f"),
        Column("edits found", attrgetter("found"), ".3f"),
        *(
            Column(f"{name} {level}/255", share(which, level), ".3f")
            for which, name in (
                ("cner", "CNER"),
                ("cncr", "CNCR"),
                ("of_others", "CNCR, other classes"),
            )
            for level in LEVELS
        ),
    ]
    half = int(255 * result.least_linf / 2)
    lines = [
        "# Certified non-evasion and non-collision in linf: digits",
        "",
        f"By `python -m experiments copies.linf_digits`, {result.conditions.machine}, "
        f"{result.conditions.threads} thread(s). A network of 32 px learned in {result.steps} "
        f"steps of {result.pictures} pictures ({result.seconds_training / 60:.1f} minutes of the "
        f"processor) to know edits of {result.trained_on} of MNIST's test digits. The rates are of "
        f"{result.digits} digits of the other half, at thresholds that let so many pairs of "
        "different digits of the first half in.",
        "",
        "*CNER*: the share of digits of which no change of linf eps leaves the threshold of "
        "themselves. *CNCR*: the share of which no such change comes within the threshold of any "
        "other of the set, and of any other of another class: two digits of one class may look "
        "alike, and are then within any threshold that knows edits of one. *Edits found*: the "
        "share of random edits (moved, turned, fainter, blurred, noisy) within the threshold.",
        "",
        Table.of(result.rates, columns).markdown(),
        f"Seconds of one core, a digit: {result.seconds_embedding:.4f} to embed, "
        f"{result.seconds_evasion:.6f} for evasion, {result.seconds_collision:.4f} for collisions "
        "with all others.",
        "",
        "CertPHash's code computes the second rate otherwise: of 100 digits, those of whose box "
        "of linf eps no part, as far as its hash sum may keep within a threshold, is also in the "
        "box of a digit of another class. Of these digits, two of different classes are at least "
        f"{result.least_linf:.3f} apart in linf, so up to eps = {half}/255 no two boxes meet, and "
        "that rate is 1 for any hash. The rates here bound what the hash, not the box, keeps "
        "apart: one digit moves, the other is stored.",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(1)
    digits = read_mnist(options.data / "mnist")
    first, rest = (
        digits.select(slice(0, options.half)),
        digits.select(slice(options.half, options.half + options.limit)),
    )
    settings = recipe(options.steps, options.share)
    metric, seconds = trained(first, settings, options.work)
    kept = options.work / "seconds.txt"
    if not kept.exists():
        kept.write_text(f"{seconds}")
    began = time.process_time()
    features = embed(metric, rest.images.double())
    embedding = (time.process_time() - began) / len(rest)
    away = edited_distances(metric, rest)
    levels = thresholds(metric, first.select(slice(0, 2000)))
    began = time.process_time()
    copies_of_features(features, features, levels[0])
    evasion = (time.process_time() - began) / len(rest)
    began = time.process_time()
    found = [
        rates(features, rest.labels, away, rate, tau)
        for rate, tau in zip(RATES, levels, strict=True)
    ]
    # Both collisions of each threshold.
    collision = (time.process_time() - began) / len(rest) / 2 / len(RATES)
    result = LinfDigits(
        "linf-rates-mnist",
        len(rest),
        len(first),
        options.steps,
        options.share,
        weights_hash(metric.network),
        least_linf(rest),
        float(kept.read_text()),
        embedding,
        evasion,
        collision,
        found,
        conditions(0),
    )
    write_result(options.out / "linf-rates-mnist.json", result)
    (options.out / "linf-rates-mnist.md").write_text(report(result), encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", type=int, default=HALF, help="digits to train on")
    parser.add_argument("--limit", type=int, default=1000, help="digits of the other half")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--share", type=int, default=64, help="pictures a step")
    parser.add_argument("--work", type=Path, default=Path("out/linf-digits"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
