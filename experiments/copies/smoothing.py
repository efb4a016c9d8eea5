"""Certificates by random smoothing beside those of a 1-Lipschitz embedding: what LipSim claims.

    python -m experiments copies.smoothing --data ../shared/data --out docs/results

EfficientNet-Lite0's pooled features, smoothed (Cohen et al. 2019; Kumar and Goldstein 2021), beside
lipsim-tiny: copies that are certified, and 2AFC answers, at l2 0.25 to 4, with processor seconds
per answer. Photograph i of the 300 and its JPEG of quality 50 are a copy; with the next photograph
they are a triplet. Writes ``smoothing.json`` and ``.md``.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.photographs import DEFAULT_DATA, as_tensor, compatible
from percert import create_metric
from percert.certify import copies, twoafc
from percert.certify.angles import angle, threshold_angle
from percert.certify.smoothing import Noise, centre_of_draws, decision_of_draws
from percert.data.pixel_edits import jpeg
from percert.metrics.catalog import metric_card
from percert.metrics.deep.features import Features
from percert.reports.table import Column, Table

BUDGETS = (0.25, 0.5, 1.0, 2.0, 4.0)
SIGMAS = (0.25, 1.0)
#: Of pooled features, 1 - cos: nine of ten unrelated pairs of photographs lie farther apart.
THRESHOLD = 0.45


@dataclass(frozen=True)
class SmoothedShares:
    """Shares of the photographs by l2 budget, the first at 0: right, nothing certified."""

    method: str
    question: str
    shares: list[float]
    samples: int
    seconds: float


@dataclass(frozen=True)
class Smoothing:
    benchmark: str
    photographs: int
    threshold: float
    confidence: float
    rates: list[SmoothedShares]
    conditions: Conditions


def shares(radii: Sequence[float]) -> list[float]:
    """At 0 the share that is right (a radius of -1 is wrong), then those beyond each budget."""
    right = sum(radius >= 0 for radius in radii) / len(radii)
    return [right] + [sum(radius > eps for radius in radii) / len(radii) for eps in BUDGETS]


def own_threshold() -> float:
    """That at which lipsim-tiny best calls two files copies."""
    threshold = metric_card("lipsim-tiny").copy_threshold
    assert threshold is not None
    return threshold


def certified(images: Sequence[tuple[Tensor, Tensor, Tensor]]) -> list[SmoothedShares]:
    """lipsim-tiny's own certificates."""
    metric = create_metric("lipsim-tiny", device="cpu")
    threshold = own_threshold()
    found = []
    for question in ("copy", "2AFC"):
        began = time.process_time()
        radii = []
        for image, edited, other in images:
            if question == "copy":
                one = copies(metric, image, edited, threshold, perturbed="reference")
                right = bool(one.decision.item())
            else:
                one = twoafc(metric, image, edited, other)
                right = one.decision.item() == 0
            radii.append(one.radius.item() if right else -1.0)
        seconds = (time.process_time() - began) / len(images)
        found.append(SmoothedShares("lipsim-tiny", question, shares(radii), 0, seconds))
    return found


def smoothed(
    images: Sequence[tuple[Tensor, Tensor, Tensor]], sigma: float, samples: int
) -> list[SmoothedShares]:
    """Copies and triplets by the same draws of each photograph."""
    metric = create_metric("efficientnet-lite0-pooled", device="cpu")
    assert isinstance(metric, Features)
    noise = Noise(sigma=sigma, samples=samples)
    embed = partial(_pooled, metric)
    radii: dict[str, list[float]] = {"copy": [], "2AFC": [], "copy, centre": []}
    began = time.process_time()
    for image, edited, other in images:
        drawn = noise.draws(image, embed, 0, samples)
        to_edited, to_other = (
            1 - torch.cosine_similarity(drawn, embed(one)) for one in (edited, other)
        )
        for question, decisions in (
            ("copy", to_edited <= THRESHOLD),
            ("2AFC", to_edited <= to_other),
        ):
            one = decision_of_draws(decisions.long(), noise)
            radii[question].append(one.radius if one.decision == 1 else -1.0)
    seconds = (time.process_time() - began) / len(images)
    for image, edited, _ in images:
        drawn = noise.draws(image, embed, 0, samples)
        radii["copy, centre"].append(_by_centre(drawn, embed(edited), noise))
    return [
        SmoothedShares(f"smoothed, sigma {sigma:g}", question, shares(found), samples, seconds)
        for question, found in radii.items()
    ]


def _by_centre(drawn: Tensor, reference: Tensor, noise: Noise) -> float:
    """The largest budget up to which the centre stays within the threshold's angle; -1: outside."""
    fits = -1.0
    target = reference.double() / reference.double().norm()
    for eps in (0.0, *BUDGETS):
        found = centre_of_draws(drawn, eps, noise)
        away = float(angle(found.centre[None], target))
        if eps == 0 and away <= threshold_angle(THRESHOLD):
            fits = 0.0
        if found.turn is not None and away + found.turn <= threshold_angle(THRESHOLD):
            fits = eps + 1e-9
    return fits


def _pooled(metric: Features, images: Tensor) -> Tensor:
    with torch.no_grad():
        (found,) = metric.features(images.float())
    return found.flatten(2).mean(2) if found.ndim > 2 else found


def report(result: Smoothing) -> str:
    """The table, and what was measured."""

    def share(eps: float) -> Callable[[SmoothedShares], float]:
        return lambda one: one.shares[(0.0, *BUDGETS).index(eps)]

    columns: list[Column[SmoothedShares]] = [
        Column("method", attrgetter("method")),
        Column("question", attrgetter("question"), side="right"),
        Column("right", share(0.0), ".2f"),
        *(Column(f"l2 = {eps:g}", share(eps), ".2f") for eps in BUDGETS),
        Column("samples", attrgetter("samples"), "d"),
        Column("seconds", attrgetter("seconds"), ".3f"),
    ]
    drawn = max(one.samples for one in result.rates)
    reaches = [
        decision_of_draws(
            torch.ones(count, dtype=torch.long), Noise(1.0, count, result.confidence)
        ).radius
        for count in (drawn, 10 * drawn)
    ]
    return "\n".join(
        [
            "# Random smoothing beside a 1-Lipschitz embedding",
            "",
            f"By `python -m experiments copies.smoothing`, {result.conditions.machine}, one core: "
            f"{result.photographs} ImageNet-Compatible photographs of 299 x 299. EfficientNet-"
            "Lite0's pooled features under Gaussian noise; copies up to a cosine distance of "
            f"{result.threshold:g}, of lipsim-tiny up to {own_threshold():g}.",
            "",
            "A photograph and its JPEG of quality 50 are a copy; which of this JPEG and the next "
            "photograph is closer is the triplet. The share that is right, and that is certified "
            f"while the photograph moves by l2 eps; smoothing's with {100 * result.confidence:g} % "
            "confidence each, and of the smoothed answer. *Centre*: by center smoothing. Seconds "
            "are the processor's, per photograph (copy and triplet share the draws).",
            "",
            Table.of(result.rates, columns).markdown(),
            f"{drawn} draws prove no radius beyond {reaches[0]:.2f} sigma, though all agree: what "
            "lies farther is not certified for want of draws. Ten times as many, which take ten "
            f"times as long, prove up to {reaches[1]:.2f} sigma.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(1)
    photographs: list[Image.Image] = compatible(options.data, options.limit + 1)
    images = [as_tensor([one]) for one in photographs]
    edited = [as_tensor([jpeg(one, 50)]) for one in photographs]
    triples = [(images[i], edited[i], images[i + 1]) for i in range(options.limit)]
    rates = certified(triples)
    for sigma in SIGMAS:
        rates += smoothed(triples, sigma, options.samples)
        print(rates[-3:], flush=True)
    result = Smoothing(
        "smoothing", options.limit, THRESHOLD, Noise().confidence, rates, conditions(0)
    )
    write_result(options.out / "smoothing.json", result)
    (options.out / "smoothing.md").write_text(report(result), encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=100, help="photographs")
    parser.add_argument("--samples", type=int, default=1000)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
