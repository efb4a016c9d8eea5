"""The page of copies.rules."""

from collections.abc import Mapping
from typing import Any

from experiments.tables import markdown


def report(result: Mapping[str, Any]) -> str:
    """All tables, as Markdown."""
    budgets = " / ".join(f"{eps:g}" for eps in result["budgets"])
    own = [
        [
            row["rule"],
            result["partner"] if row["partner"] else "",
            f"{row['rate']:.0e}",
            _share(row["usual"]),
            " / ".join(map(_share, row["usual certified"])),
            _share(row["augly"]),
            " / ".join(map(_share, row["augly certified"])),
        ]
        for row in result["rules"]
    ]
    rates = sorted({row["rate"] for row in result["rules"]}, reverse=True)
    rivals = [
        [one["name"] + (", own thresholds" if one["weight"] else "")]
        + [_share(one[f"{group} at {rate:.0e}"]) for group in ("usual", "augly") for rate in rates]
        for one in result["rivals"]
    ]
    names = [f"{group} {rate:.0e}" for group in ("usual", "AugLy") for rate in rates]
    attacked = [
        [row["views"], row["partner by"], f"{row['eps']:g}"]
        + [_share(row[name]) if name in row else "" for name in ATTACKS]
        for row in result["attacked"]
    ]
    parts = [
        "# Copies in a collection: rule, views, partner\n",
        f"Measured by `python -m experiments copies.rules` with `{result['metric']}` on "
        f"{result['photographs']} photographs, copies of {result['edited']} of them and "
        f"{result['strangers']} strangers. At a rate, that share of the pairs (stranger, "
        "photograph) is taken for a copy, counted on the strangers themselves; with a partner each "
        "of the two has half of it. Certified is the share of all copies that is found and stays "
        f"so for every change of l2 {budgets} (lengths at 299 px). Where SSCD takes "
        f"part, edits are of the first {result['partner_of']} photographs (hashes: "
        f"{result['hashed_of']}), and strangers "
        "are Imagenette's.\n",
        markdown(
            [
                "views",
                "partner",
                "rate",
                "usual found",
                f"certified {budgets}",
                "AugLy found",
                f"certified {budgets}",
            ],
            own,
        ),
        "\n## Rivals, one threshold each unless said\n",
        markdown(["detector", *names], rivals),
        "\n## Under attack\n",
        f"What is left of {result['attacked'][0]['copies'] if attacked else 0} copies at 1e-6: "
        "found by the rule under PGD through all its views; by the partner alone under Square, and "
        "under what PGD made against the rule (transfer: SSCD's package has no gradient); by "
        "either then. Of a partner with a gradient also what PGD on it leaves by it, and what PGD "
        "on both at once leaves by either; its level is one that no two photographs reach. Row 0: "
        "before.\n",
        markdown(["views", "partner", "l2", *ATTACKS], attacked),
        _promised(result["promised"]),
        "\n## The hardest of AugLy's\n",
        _hardest(result),
    ]
    return "\n".join(parts) + "\n"


ATTACKS = (
    *("rule", "partner", "partner, Square", "partner, transfer", "either"),
    *("partner, PGD", "either, PGD"),
)


def _promised(held: Mapping[str, Any]) -> str:
    if not held:
        return ""
    rows = [
        [wrong, f"{one['promised']:.1f}", str(one["counted"])]
        for wrong, one in held["wrong"].items()
    ]
    return "\n".join(
        [
            "\n## Wrong answers of the partner, promised and counted\n",
            f"By the rule that ships with SSCD, of {held['strangers']} queries that are copies of "
            f"none of the {held['stored']} stored.\n",
            markdown(["wrong a query", "promised", "counted"], rows),
        ]
    )


def _hardest(result: Mapping[str, Any]) -> str:
    last = [
        row for row in result["rules"] if row["rate"] == min(r["rate"] for r in result["rules"])
    ]
    alone = next(row for row in last if row["rule"] == "thorough" and not row["partner"])
    both = next(row for row in last if row["rule"] == "thorough" and row["partner"])
    by_edit = alone["augly by edit"]
    worst = sorted(by_edit, key=lambda name: by_edit[name])[:12]
    rows = [[name, _share(by_edit[name]), _share(both["augly by edit"][name])] for name in worst]
    return markdown(["edit", "thorough", "with SSCD"], rows)


def _share(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if value in (0, 1) else f"{value:.3f}"
