"""Attack runs compared: each attack by itself, all on the same images, and beside a baseline."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from percert.evaluation.attack_runs import AttackRuns
from percert.evaluation.attack_settings import Ablation, ablations
from percert.evaluation.attack_tables import (
    AttackNumbers,
    as_json,
    number_attacks,
    ratios_to,
    shared_images,
)
from percert.evaluation.attacked_files import Row

#: The attack that others are compared with, unless another one is named.
BASELINE = "ascent"


@dataclass(frozen=True)
class AttackEvaluation:
    """What ``percert eval attacks`` says.

    ``own``: every attack on all the images that it was run on. ``shared``: the same on the images
    ``shared_on``, on which all of them succeeded. ``ratios``: each attack's means over those of the
    ``baseline``, where there is one, on the images that both succeeded on. ``ablations``: which
    attacks differ in one setting.
    """

    rows: Sequence[Row]
    distances: Sequence[str]
    over: str
    own: list[AttackNumbers]
    shared_on: list[str]
    shared: list[AttackNumbers]
    baseline: str | None
    ratios: dict[str, dict[str, float | None]]
    ablations: list[Ablation]

    def answer(self) -> dict[str, Any]:
        """All of it as what JSON can hold."""
        return {
            "distances": list(self.distances),
            "attacks": as_json(self.own),
            "shared": {"images": len(self.shared_on), "attacks": as_json(self.shared)},
            "baseline": self.baseline,
            "ratios": self.ratios,
            "ablations": [asdict(entry) for entry in self.ablations],
        }


def evaluate_attacks(
    runs: AttackRuns,
    rows: Sequence[Row],
    distances: Sequence[str],
    baseline: str | None = None,
) -> AttackEvaluation:
    """Compare the attacks of ``runs``; ``rows`` are theirs, with ``distances`` measured.

    ``baseline``: :data:`BASELINE` if not given, where it was run. Raises ``ValueError`` for one
    that was not, and where nothing was attacked.
    """
    own = number_attacks(rows, distances, over=runs.over)
    if not own:
        raise ValueError("runs: nothing was attacked in any of them")
    known = [entry.attack for entry in own]
    if baseline is None and BASELINE in known:
        baseline = BASELINE
    ratios = {} if baseline is None else ratios_to(baseline, rows, distances, over=runs.over)
    tried = [row for row in rows if row["attack"] in known]
    together = shared_images(tried, runs.over)
    return AttackEvaluation(
        rows=rows,
        distances=distances,
        over=runs.over,
        own=own,
        shared_on=together,
        shared=number_attacks(rows, distances, images=set(together), over=runs.over),
        baseline=baseline,
        ratios=ratios,
        ablations=ablations({row["attack"]: row["spec"] for row in rows}),
    )
