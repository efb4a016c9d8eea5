"""The evaluation of copy detectors as a whole: thresholds, rates, and what attacks leave."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from percert.data.copy_edits import Edit
from percert.evaluation.copies import (
    Chosen,
    Measured,
    Progress,
    copy_radii,
    measure,
    silent,
    spread,
)
from percert.evaluation.copies_attacked import AttackedRates, Outcome, Pair, attacked_rates
from percert.evaluation.copies_detector import Detector
from percert.evaluation.copies_parts import Parts, pack_outcome, unpack_outcome
from percert.evaluation.copies_point import (
    Distances,
    micro_average_precision,
    operating_point,
    rate,
    roc_curve,
)
from percert.evaluation.copies_rates import RATES, certified_rates, pairs, split_pairs
from percert.evaluation.copies_result import CopiesPlan, DetectorResult, EditResult, QueryRow
from percert.evaluation.copies_threshold import choose


def evaluate_copies(
    detectors: Sequence[Detector],
    pictures: Sequence[Image.Image],
    queries: Sequence[int],
    strangers: Sequence[int],
    plan: CopiesPlan,
    *,
    parts: Parts | None = None,
    progress: Progress = silent,
    rows: Callable[[list[QueryRow]], object] = lambda rows: None,
) -> list[DetectorResult]:
    """Evaluate ``detectors`` on ``pictures``, of which those at ``queries`` are edited.

    Those at ``strangers`` are attacked as they are, each towards another picture of the collection
    drawn at random. ``rows`` is handed what was found of every query. Raises ``ValueError`` where
    certified <= attacked <= natural does not hold.
    """
    parts = parts or Parts()
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
            )
        )
    return results


def copy_pairs(queries: Sequence[int], edits: Sequence[Edit], wanted: int) -> list[Pair]:
    """``wanted`` copies to be attacked, spread evenly over all edits and pictures."""
    flat = spread(len(edits) * len(queries), wanted)
    cases = [divmod(number, len(queries)) for number in flat]
    return [Pair(place, edits[edit].name, queries[place]) for edit, place in cases]


def stranger_pairs(
    queries: Sequence[int], strangers: Sequence[int], wanted: int, seed: int
) -> list[Pair]:
    """``wanted`` strangers, spread evenly, each with one of the ``queries`` other than itself."""
    generator = np.random.default_rng(seed)
    chosen = []
    for place in spread(len(strangers), wanted):
        targets = [query for query in queries if query != strangers[place]]
        if targets:
            chosen.append(Pair(strangers[place], None, int(generator.choice(targets))))
    return chosen


def _attacks(
    detector: Detector,
    mine: Measured,
    pictures: Sequence[Image.Image],
    queries: Sequence[int],
    strangers: Sequence[int],
    threshold: float,
    plan: CopiesPlan,
    parts: Parts,
    progress: Progress,
) -> list[AttackedRates | None]:
    """What is left of copies, and of strangers."""
    found: list[AttackedRates | None] = []
    for copies, wanted in (
        (True, copy_pairs(queries, plan.edits, plan.attacked)),
        (False, stranger_pairs(queries, strangers, plan.attacked, plan.seed)),
    ):
        what = f"{detector.name}: {'copies' if copies else 'strangers'} attacked"
        key = (what, plan.views, threshold, plan.steps, plan.seed, plan.budgets, plan.side)
        count = [0]

        def keep(name: str, make: Callable[[], Outcome], key: object = key) -> Outcome:
            part = f"attack/{key}/{name}"
            if parts.has(part):
                return unpack_outcome(parts.load(part))
            made = make()
            parts.save(part, pack_outcome(made))
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
    """Raise ``ValueError`` where something is proven to stay a copy that is none."""
    if radii and ((np.concatenate(radii) > 0) & (edited > threshold)).any():
        raise ValueError(f"{name}: a certificate for a copy that is not found")


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
