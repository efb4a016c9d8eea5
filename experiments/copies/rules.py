"""Copies in a collection by rule, views and partner: found, certified, attacked, beside rivals.

    python -m experiments copies.rules --more MORE --work WORK --out docs/results

The 300 ImageNet-Compatible photographs under the committed edits and AugLy's, strangers the
validation sets of Imagenette and Tiny ImageNet below MORE. All thresholds are those at which the
wanted share of pairs (stranger, photograph) is taken for copies, counted on these very strangers;
with a partner the two share it as in an index, and in other parts. SSCD and the hashes are asked
for fewer. Goes on where it was stopped; with ``--attacked 0`` what --out has of attacks is kept.
Writes copies-rules.json and .md.
"""

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from experiments.conditions import conditions, write_result
from experiments.copies.attacked_rules import AttackedRules, attack_rules
from experiments.copies.proven_rules import BUDGETS, RULES, Certified, ViewRule
from experiments.copies.rivals import PHOTOGRAPHS, Rival, Scores, level_at
from experiments.copies.rules_report import report
from experiments.copies.sets import (
    ASKED,
    EDITS,
    HASHED_OF,
    HASHES,
    PARTNER_OF,
    PARTNER_STRANGERS,
    QUERY_SETS,
    Sets,
    add_places,
    embed_all,
)
from percert.files import write_whole
from percert.search.partner.rule import shipped_rule
from percert.search.query.recommended import WRONG
from percert.search.query.rule import shared_rate

#: Parts of a rate that a partner may have.
SHARES = (0.0, 0.5, 0.9, 0.95, 0.99)
RATES = (1e-3, 1e-4, 1e-5, 1e-6)
#: At which of them copies are certified.
PROVEN_AT = (1e-3, 1e-6)
Flags = npt.NDArray[np.bool_]


def measure(sets: Sets) -> dict[str, Any]:
    """The tables of what is found and certified."""
    certified, rows = Certified(sets), []
    partner = Rival(sets, sets.partner_name)
    beside = partner.stranger_scores()
    seen = {g: [partner.copy_scores(edit) for edit in some] for g, some in EDITS.items()}
    for rule in RULES:
        strangers = certified.stranger_scores(rule)
        for rate in RATES:
            for with_partner in (False, True):
                own_rate, other_rate = shared_rate(rate) if with_partner else (rate, rate)
                level, other = level_at(strangers, own_rate), level_at(beside, other_rate)
                row: dict[str, Any] = {"rule": rule.name, "rate": rate, "partner": with_partner}
                for group, edits in EDITS.items():
                    finds = []
                    for edit, by_partner in zip(edits, seen[group], strict=True):
                        own = certified.copy_scores(rule, edit) > level
                        if with_partner:
                            both = min(len(own), len(by_partner))
                            own = own[:both] | (by_partner[:both] > other)
                        finds.append(own)
                    row[group] = _share(finds)
                    row[f"{group} by edit"] = {
                        edit.name: float(one.mean()) for edit, one in zip(edits, finds, strict=True)
                    }
                    row[f"{group} certified"] = []
                    if rate in PROVEN_AT and not with_partner:
                        radii = np.concatenate([certified.radii(rule, e, level) for e in edits])
                        row[f"{group} certified"] = [float((radii > eps).mean()) for eps in BUDGETS]
                rows.append(row)
                print(row["rule"], rate, with_partner, row["usual"], row["augly"], flush=True)
    rivals = [Rival(sets, sets.partner_name), Rival(sets, sets.partner_name, 0.5)]
    return {
        "rules": rows,
        "shares": [
            measure_share(certified, *asked, seen, beside)
            for asked in itertools.product(RULES[2:], PROVEN_AT, SHARES)
        ],
        "rivals": [_rival(one) for one in [*rivals, *_hashes(sets)]],
    }


def measure_share(
    certified: Certified,
    rule: ViewRule,
    rate: float,
    share: float,
    seen: Mapping[str, Sequence[Scores]],
    beside: Scores,
) -> dict[str, Any]:
    """What is found where a partner has a ``share`` of the rate, by the certified metric alone and
    by either; and what of the usual edits that certifies. ``seen`` and ``beside`` are the partner's
    scores of copies and of strangers.
    """
    level = level_at(certified.stranger_scores(rule), (1 - share) * rate)
    other = level_at(beside, share * rate)
    row: dict[str, Any] = {"rule": rule.name, "rate": rate, "partner": share}
    for group, edits in EDITS.items():
        own = [certified.copy_scores(rule, edit) > level for edit in edits]
        both = [
            some[: len(by)] | (by[: len(some)] > other)
            for some, by in zip(own, seen[group], strict=True)
        ]
        row |= {group: _share(own), f"{group} by either": _share(both)}
    radii = np.concatenate([certified.radii(rule, edit, level) for edit in EDITS["usual"]])
    row["usual certified"] = [float((radii > eps).mean()) for eps in BUDGETS]
    return row


def _hashes(sets: Sets) -> list[Rival]:
    return [Rival(sets, by) for by in HASHES]


def _rival(rival: Rival) -> dict[str, Any]:
    strangers = rival.stranger_scores()
    found: dict[str, Any] = {"name": rival.by, "weight": rival.weight, "pairs": strangers.size}
    for rate in RATES:
        level = level_at(strangers, rate)
        for group, edits in EDITS.items():
            finds = [rival.copy_scores(edit) > level for edit in edits]
            found[f"{group} at {rate:.0e}"] = _share(finds)
    return found


def _share(finds: Sequence[Flags]) -> float:
    return float(np.concatenate(finds).mean())


def promised(sets: Sets) -> dict[str, Any]:
    """Wrong answers of the partner by the rule that ships with it, beside what that promises."""
    weights = sets.descriptor.weights
    rule = shipped_rule(sets.partner_name, weights)
    if rule is None:
        return {}
    scores = Rival(sets, sets.partner_name).stranger_scores()
    found = {}
    for wrong in (1e-2, WRONG, 1e-4):
        level = rule.level(wrong / scores.shape[1])
        found[f"{wrong:g}"] = {
            "promised": wrong * len(scores),
            "counted": int((scores > level).any(1).sum()),
        }
    return {"stored": scores.shape[1], "strangers": len(scores), "wrong": found}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_places(parser)
    parser.add_argument("--attacked", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--queries", type=int, default=60, help="of Square on the partner")
    parser.add_argument("--joint", help="a partner with gradients, to attack both at once")
    parser.add_argument("--metric", default="lipsim-tiny")
    parser.add_argument("--partner", default="sscd")
    parser.add_argument("--limit", type=int, help="of each set, for a trial")
    parser.add_argument("--edited", type=int, help="photographs that copies are made of")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    began = perf_counter()
    sets = Sets(
        options.data,
        options.more,
        options.work,
        options.metric,
        options.partner,
        limit=options.limit,
        edited=options.edited,
    )
    embed_all(sets)
    result: dict[str, Any] = {
        "benchmark": "copies-rules",
        "metric": sets.metric_name,
        "partner": sets.partner_name,
        **measure(sets),
        "promised": promised(sets),
        "photographs": len(sets.paths(PHOTOGRAPHS)),
        "edited": len(sets.paths(PHOTOGRAPHS)[: options.edited]),
        "strangers": sum(len(sets.paths(name)) for name in QUERY_SETS),
        "partner_of": PARTNER_OF,
        "hashed_of": HASHED_OF,
        "partner_strangers": len(sets.paths(PARTNER_STRANGERS)),
        "budgets": list(BUDGETS),
    }
    for stage in ("found", "attacked"):  # what is found is kept where the attacks are stopped
        if stage == "attacked" and options.attacked:
            result["attacked"] = attacks(sets, options)
        else:
            result["attacked"] = _attacked_before(options.out / "copies-rules.json")
        result["seconds"] = round(perf_counter() - began)
        write_result(
            options.out / "copies-rules.json", result | {"conditions": vars(conditions(0))}
        )
        write_whole(options.out / "copies-rules.md", report(result))


def _attacked_before(path: Path) -> list[dict[str, Any]]:
    """What an earlier run attacked, where ``path`` has one."""
    if not path.exists():
        return []
    held = json.loads(path.read_text("utf-8"))
    return [{"commit": held["conditions"]["commit"], **row} for row in held["attacked"]]


def attacks(sets: Sets, options: argparse.Namespace) -> list[dict[str, Any]]:
    """What attacks leave of copies under usual edits, at one in a million pairs.

    Of whole pictures and of the standard views beside the partner; with ``options.joint``, another
    partner that has gradients, of the latter beside that, whose level no two of the photographs
    reach.
    """
    partner = Rival(sets, sets.partner_name)
    level = level_at(partner.stranger_scores(), RATES[-1])
    found = attack_beside(RULES[1], partner, level, options)
    # The partner alone is the same beside both.
    options = argparse.Namespace(**vars(options) | {"queries": 0})
    found += attack_beside(RULES[2], partner, level, options)
    if options.joint:
        partner = Rival(replace(sets, partner_name=options.joint), options.joint)
        cosines = (partner.stored @ partner.stored.T).fill_diagonal_(-1)
        found += attack_beside(RULES[2], partner, float(cosines.max()), options)
    return found


def attack_beside(
    rule: ViewRule, partner: Rival, other: float, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """One rule under attack, beside a partner at the level ``other``."""
    sets = partner.sets
    certified = Certified(sets)
    level = level_at(certified.stranger_scores(rule), RATES[-1])
    pairs = [
        (ASKED[a], certified.stored[:, v], level + rule.weight * certified.likeness[:, v])
        for a, v in rule.pairs()
    ]
    asked = AttackedRules(rule.name, sets.metric, pairs, sets.descriptor, partner.stored, other)
    found = attack_rules(asked, sets.paths(PHOTOGRAPHS), EDITS["usual"], options)
    return [row | {"commit": conditions(0).commit} for row in found]


if __name__ == "__main__":
    main()
