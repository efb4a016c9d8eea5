"""Evaluation of copy detectors: thresholds, rates, certified rates, and rates under attack."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from percert.data.copy_edits import Edit
from percert.evaluation.copies.attack import (
    AttackedPair,
    AttackedPairs,
    AttackedRates,
    attacked_rates,
)
from percert.evaluation.copies.detector import Detector
from percert.evaluation.copies.gallery import ThresholdChoice, choose
from percert.evaluation.copies.measure import (
    Chosen,
    Measured,
    ResultsFolder,
    copy_radii,
    measure,
    pack_pairs,
    spread,
    unpack_pairs,
)
from percert.evaluation.copies.rates import (
    RATES,
    SIDE,
    CertifiedRate,
    Distances,
    OperatingPoint,
    certified_rates,
    micro_average_precision,
    operating_point,
    pairs,
    rate,
    roc_curve,
    split_pairs,
)
from percert.runs.certified import BrokenCertificate
from percert.runs.engine import Progress, silent
from percert.search.ingest.views import asked_views
from percert.search.query.rule import Rule
from percert.search.query.threshold import AutoThreshold


@dataclass(frozen=True, kw_only=True)
class CopiesPlan:
    """The settings of an evaluation: edits, rates, budgets, attacks.

    ``budgets`` are l2 lengths at ``side`` x ``side`` pixels (see
    :func:`percert.evaluation.copies.rates.scaled`).
    ``attacked`` copies and as many strangers are attacked, in ``steps`` steps a budget.
    """

    edits: tuple[Edit, ...]
    views: tuple[str, ...] = ("whole",)
    budgets: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    side: int = SIDE
    threshold: ThresholdChoice = field(default_factory=ThresholdChoice)
    attacked: int = 0
    steps: int = 20
    seed: int = 0


@dataclass(frozen=True)
class EditResult:
    """One edit at the threshold: the share of its copies that is found, and proven."""

    name: str
    family: str
    hard: bool
    natural: float
    certified: list[CertifiedRate]


@dataclass(frozen=True)
class DetectorResult:
    """One detector; rates are shares in [0, 1].

    ``points`` are the true-positive rates at the three false-positive rates. Everything else holds
    at ``threshold``, at which the negatives have the rate ``fpr_found``: ``natural`` and
    ``certified`` the share of all copies, ``evasion`` what attacks leave of some copies, and
    ``collision`` of some strangers that are refused. ``roc`` is of (false, true) positive rates.
    ``rule`` says whether the threshold is one for all or each stored picture's own.
    """

    name: str
    certifiable: bool
    threshold: float
    auto: AutoThreshold | None
    fpr_found: float
    natural: float
    certified: list[CertifiedRate]
    points: list[OperatingPoint]
    micro_average_precision: float
    edits: list[EditResult]
    evasion: AttackedRates | None
    collision: AttackedRates | None
    roc: list[tuple[float, float]]
    copies: int
    negatives: int
    seconds: float
    rule: Rule | None = None


@dataclass(frozen=True)
class QueryRow:
    """One edited picture by one detector; ``radius`` is ``None`` without certificates.

    Where pictures have thresholds of their own, a distance is what is compared with T: ``d +
    weight b``.
    """

    query: int
    edit: str
    detector: str
    distance: float
    nearest_other: float
    found: bool
    radius: float | None


def evaluate_copies(
    detectors: Sequence[Detector],
    pictures: Sequence[Image.Image],
    queries: Sequence[int],
    strangers: Sequence[int],
    plan: CopiesPlan,
    *,
    parts: ResultsFolder | None = None,
    progress: Progress = silent,
    rows: Callable[[list[QueryRow]], object] = lambda rows: None,
) -> list[DetectorResult]:
    """Evaluate ``detectors`` on ``pictures``, of which those at ``queries`` are edited.

    Those at ``strangers`` are attacked as they are, each towards another picture of the collection
    drawn at random. ``rows`` is handed what was found of every query. Raises ``BrokenCertificate``
    where certified <= attacked <= natural does not hold.
    """
    parts = parts or ResultsFolder()
    blind = [one.name for one in detectors if not getattr(one, "differentiable", True)]
    if plan.attacked and blind:
        raise ValueError(f"{blind[0]}: has no gradient for the attack to follow")
    measured = measure(
        detectors,
        pictures,
        queries,
        plan.edits,
        views=plan.views,
        seed=plan.seed,
        parts=parts,
        progress=progress,
    )
    results: list[DetectorResult] = []
    for detector in detectors:
        mine = measured[detector.name]
        positives, negatives = split_pairs(plan.edits, mine.distances, queries)
        first = results[0].fpr_found if results else None
        threshold, auto = choose(
            plan.threshold, detector, mine.gallery, negatives, first, plan.seed
        )
        radii = {edit.name: copy_radii(mine, edit, threshold, plan.side) for edit in plan.edits}
        known = [radius for radius in radii.values() if radius is not None]
        _check(detector.name, positives, threshold, known)
        evasion = collision = None
        if plan.attacked:
            evasion, collision = _attacks(
                detector, mine, pictures, queries, strangers, threshold, plan, parts, progress
            )
        rows(_rows(detector.name, mine, plan.edits, queries, threshold, radii))
        results.append(
            DetectorResult(
                name=detector.name,
                certifiable=mine.gallery.h is not None,
                threshold=threshold,
                auto=auto,
                fpr_found=rate(negatives, threshold),
                natural=rate(positives, threshold),
                certified=certified_rates(known, plan.budgets, plan.side),
                points=[operating_point(positives, negatives, fpr) for fpr in RATES],
                micro_average_precision=micro_average_precision(positives, negatives),
                edits=[
                    _edit_result(edit, mine, queries, threshold, radii[edit.name], plan)
                    for edit in plan.edits
                ],
                evasion=evasion,
                collision=collision,
                roc=roc_curve(positives, negatives),
                copies=positives.size,
                negatives=negatives.size,
                seconds=round(mine.seconds, 3),
                rule=_rule(detector, threshold),
            )
        )
    return results


def _rule(detector: Detector, threshold: float) -> Rule:
    background = getattr(detector, "background", None)
    if background is None:
        return Rule(threshold)
    return Rule(threshold, background.weight, background.id.hash, background.source)


def copy_pairs(queries: Sequence[int], edits: Sequence[Edit], wanted: int) -> list[AttackedPair]:
    """``wanted`` copies to be attacked, spread evenly over all edits and pictures."""
    flat = spread(len(edits) * len(queries), wanted)
    cases = [divmod(number, len(queries)) for number in flat]
    return [AttackedPair(place, edits[edit].name, queries[place]) for edit, place in cases]


def stranger_pairs(
    queries: Sequence[int], strangers: Sequence[int], wanted: int, seed: int
) -> list[AttackedPair]:
    """``wanted`` strangers, spread evenly, each with one of the ``queries`` other than itself."""
    generator = np.random.default_rng(seed)
    chosen = []
    for place in spread(len(strangers), wanted):
        targets = [query for query in queries if query != strangers[place]]
        if targets:
            chosen.append(AttackedPair(strangers[place], None, int(generator.choice(targets))))
    return chosen


def _attacks(
    detector: Detector,
    mine: Measured,
    pictures: Sequence[Image.Image],
    queries: Sequence[int],
    strangers: Sequence[int],
    threshold: float,
    plan: CopiesPlan,
    parts: ResultsFolder,
    progress: Progress,
) -> list[AttackedRates | None]:
    """Rates of copies, and of unrelated images, under attack."""
    found: list[AttackedRates | None] = []
    for copies, wanted in (
        (True, copy_pairs(queries, plan.edits, plan.attacked)),
        (False, stranger_pairs(queries, strangers, plan.attacked, plan.seed)),
    ):
        what = f"{detector.name}: {'copies' if copies else 'strangers'} attacked"
        pairing = (plan.views, asked_views(plan.views))
        key = (what, *pairing, threshold, plan.steps, plan.seed, plan.budgets, plan.side)
        count = [0]

        def keep(name: str, make: Callable[[], AttackedPairs], key: object = key) -> AttackedPairs:
            part = f"attack/{key}/{name}"
            if parts.has(part):
                return unpack_pairs(parts.load(part))
            made = make()
            parts.save(part, pack_pairs(made))
            return made

        def done(
            more: int, what: str = what, total: int = len(wanted), count: list[int] = count
        ) -> None:
            count[0] += more
            progress(what, count[0], total)

        found.append(
            attacked_rates(
                detector,
                mine.gallery,
                Chosen(pictures, queries) if copies else pictures,
                wanted,
                threshold,
                copies=copies,
                steps=plan.steps,
                seed=plan.seed,
                budgets=plan.budgets,
                side=plan.side,
                keep=keep,
                done=done,
            )
            if wanted
            else None
        )
    return found


def _check(name: str, edited: Distances, threshold: float, radii: Sequence[Distances]) -> None:
    """Raise ``BrokenCertificate`` where a certified copy is not one."""
    if radii and ((np.concatenate(radii) > 0) & (edited > threshold)).any():
        raise BrokenCertificate(f"{name}: a certificate for a copy that is not found")


def _edit_result(
    edit: Edit,
    mine: Measured,
    queries: Sequence[int],
    threshold: float,
    radii: Distances | None,
    plan: CopiesPlan,
) -> EditResult:
    own, _ = pairs(mine.distances[edit.name], edit, queries)
    proven = [] if radii is None else certified_rates([radii], plan.budgets, plan.side)
    return EditResult(edit.name, edit.family, edit.hard, rate(own, threshold), proven)


def _rows(
    name: str,
    mine: Measured,
    edits: Sequence[Edit],
    queries: Sequence[int],
    threshold: float,
    radii: Mapping[str, Distances | None],
) -> list[QueryRow]:
    found = []
    for edit in edits:
        distances = mine.distances[edit.name].copy()
        own, _ = pairs(distances, edit, queries)
        distances[np.arange(len(queries)), queries] = np.inf
        others = distances.min(axis=1)
        proven = radii[edit.name]
        for place, query in enumerate(queries):
            found.append(
                QueryRow(
                    query,
                    edit.name,
                    name,
                    float(own[place]),
                    float(others[place]),
                    bool(own[place] <= threshold),
                    None if proven is None else float(proven[place]),
                )
            )
    return found
