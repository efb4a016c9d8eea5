"""2AFC: which of two images is closer, on distortions of known severity and on classes.

    python -m experiments triplets.distortions --data ../shared/data --out docs/results

A score is how often the right image is the closer one; certified is how often that is proven.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from experiments.conditions import Conditions, conditions, write_result
from experiments.detectors import luma_distance, luma_of, make_detector
from experiments.photographs import DEFAULT_DATA, as_tensor, compatible
from percert.certify.twoafc import twoafc_of_features
from percert.data.distortions import DISTORTIONS, distortion_triplet
from percert.data.labelled_images import read_labelled_images, semantic_triplets
from percert.evaluation.copies.detector import Described, Detector, join
from percert.evaluation.copies.pictures import BATCH
from percert.evaluation.copies.rates import BUDGETS, SIDE, psnr, scaled


@dataclass(frozen=True)
class CertifiedShares:
    """The share of all triplets answered rightly and proven within l2 ``eps`` at 299 px.

    ``paper`` uses LipSim's Eq. 8, ``ours`` the exact distance to the boundary. The reference moves.
    """

    eps: float
    psnr: float
    paper: float
    ours: float


@dataclass(frozen=True)
class TripletScores:
    """``natural`` is the share answered rightly; a tie is an error. ``certified`` may be empty."""

    name: str
    triplets: int
    natural: float
    certified: list[CertifiedShares]


def certified_scores(
    name: str, reference: Described, right: Described, wrong: Described, size: tuple[int, int]
) -> TripletScores:
    """The scores of an embedding with a proven bound; ``size`` is that of the references."""
    if reference.features is None or right.features is None or wrong.features is None:
        raise ValueError(f"{name}: expected features with a proven bound, found none")
    certificate = twoafc_of_features(reference.features, right.features, wrong.features)
    # A tie has radius 0, and says left.
    correct = (certificate.decision == 0) & (certificate.radius > 0)
    distances = _distances(reference, right), _distances(reference, wrong)
    natural = float((distances[0] < distances[1]).mean())
    radii = certificate.radius, certificate.radius_paper.nan_to_num(0.0)
    certified = []
    for eps in BUDGETS:
        ours, paper = (
            float((correct & (radius > scaled(eps, size))).double().mean()) for radius in radii
        )
        certified.append(CertifiedShares(eps, psnr(eps), paper, ours))
    return TripletScores(name, len(correct), natural, certified)


def natural_scores(
    name: str,
    to_right: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    to_wrong: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> TripletScores:
    """The scores of distances without certificates."""
    return TripletScores(name, len(to_right), float((to_right < to_wrong).mean()), [])


def _distances(
    reference: Described, other: Described
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    difference: torch.Tensor = (reference.vectors - other.vectors).square().sum(1) / 2
    return np.asarray(difference)


NAMES = ("lipsim-tiny", "thumbnail-8", "thumbnail-16", "ssim", "squeezenet")

#: Reference, right and wrong images of one batch, and the name of the set that it belongs to.
Batch = tuple[str, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class TripletsResult:
    """One metric. ``distortions`` holds all of them together first, then each by itself."""

    benchmark: str
    metric: str
    photographs: int
    distortions: list[TripletScores]
    semantic: TripletScores | None
    semantic_side: int
    seconds: float
    conditions: Conditions


def distortion_batches(data: Path, limit: int | None, seed: int) -> Iterator[Batch]:
    """The triplets of every photograph under every distortion."""
    photographs = compatible(data, limit)
    for begin in range(0, len(photographs), BATCH):
        some = photographs[begin : begin + BATCH]
        reference = as_tensor(some)
        for distortion in DISTORTIONS:
            triplets = [
                distortion_triplet(image, distortion, seed, begin + i)
                for i, image in enumerate(some)
            ]
            yield (
                distortion.name,
                reference,
                as_tensor([triplet.milder for triplet in triplets]),
                as_tensor([triplet.stronger for triplet in triplets]),
            )


def semantic_batches(data: Path, count: int, seed: int) -> Iterator[Batch]:
    """Triplets of the validation images of Tiny ImageNet at 32 x 32."""
    images = read_labelled_images(data / "tiny-imagenet-32" / "val.parquet")
    indices = semantic_triplets(images.labels, count, seed)
    for begin in range(0, count, 16 * BATCH):
        reference, same, other = indices[begin : begin + 16 * BATCH].T
        yield (
            "semantic",
            images.decode(reference),
            images.decode(same),
            images.decode(other),
        )


class _Described:
    """A detector that remembers the last references: one batch of them serves every distortion."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._images: Tensor | None = None
        self._described: Described | None = None

    def triplet(self, batch: Batch) -> tuple[Described, Described, Described]:
        _, reference, right, wrong = batch
        if self._described is None or reference is not self._images:
            self._images, self._described = reference, self._detector.describe(reference)
        return self._described, self._detector.describe(right), self._detector.describe(wrong)


class _Collected:
    """What one detector has seen of one set: descriptions, or distances of SSIM's pairs."""

    def __init__(self) -> None:
        self.described: list[tuple[Described, Described, Described]] = []
        self.distances: list[tuple[Tensor, Tensor]] = []
        self.size = (0, 0)

    def add(self, detector: _Described | None, batch: Batch) -> None:
        reference = batch[1]
        self.size = (reference.shape[2], reference.shape[3])
        if detector is not None:
            self.described.append(detector.triplet(batch))
            return
        # One by one: SSIM's maps of a whole batch would be far larger than any cache.
        with torch.no_grad():
            for one, first, second in zip(*map(luma_of, batch[1:]), strict=True):
                self.distances.append(
                    (luma_distance(one[None], first[None]), luma_distance(one[None], second[None]))
                )


def _scores(name: str, collected: Sequence[_Collected]) -> TripletScores:
    described = [triplet for each in collected for triplet in each.described]
    if not described:
        pairs = [pair for each in collected for pair in each.distances]
        right, wrong = (np.asarray(torch.cat(side).double()) for side in zip(*pairs, strict=True))
        return natural_scores(name, right, wrong)
    reference, first, second = (join(side) for side in zip(*described, strict=True))
    if reference.features is not None:
        return certified_scores(name, reference, first, second, collected[0].size)
    to_first, to_second = (
        np.asarray((reference.vectors - other.vectors).square().sum(1)) for other in (first, second)
    )
    return natural_scores(name, to_first, to_second)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    names = options.metric or NAMES
    # SSIM compares pairs at the images' own size here: nothing has to be described beforehand.
    detectors = {
        name: None
        if name == "ssim"
        else _Described(make_detector(name, options.data, options.checkpoint))
        for name in names
    }
    sets: dict[str, dict[str, _Collected]] = {name: {} for name in names}
    seconds = dict.fromkeys(names, 0.0)
    for source in (
        distortion_batches(options.data, options.limit, options.seed),
        semantic_batches(options.data, options.semantic, options.seed),
    ):
        for batch in source:
            for name, detector in detectors.items():
                start = perf_counter()
                sets[name].setdefault(batch[0], _Collected()).add(detector, batch)
                seconds[name] += perf_counter() - start
    for name in names:
        semantic = sets[name].pop("semantic", None)
        parts = [_scores("all distortions", list(sets[name].values()))]
        parts += [_scores(each, [collected]) for each, collected in sets[name].items()]
        result = TripletsResult(
            "triplets",
            name,
            parts[1].triplets,
            parts,
            _scores("semantic", [semantic]) if semantic else None,
            semantic.size[0] if semantic else 0,
            round(seconds[name], 3),
            conditions(options.seed),
        )
        write_result(options.out / f"triplets-{name}.json", result)
        meaning = f"{result.semantic.natural:.4f}" if result.semantic else "not measured"
        print(f"{name:14} distortions {parts[0].natural:.4f} semantic {meaning}", flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Which of two images is closer.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--metric", action="append", help="repeatable; all of them if not given")
    parser.add_argument("--checkpoint", action="append", default=[], help="NAME=FILE; repeatable")
    parser.add_argument("--limit", type=int, help="the first photographs only")
    parser.add_argument("--semantic", type=int, default=2000, help="semantic triplets")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()


__all__ = ["BUDGETS", "SIDE", "psnr", "scaled"]
