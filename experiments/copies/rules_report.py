"""The page of copies.rules."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from percert.reports.table import Column, Table
from percert.search.query.rule import PARTNER

Row = Mapping[str, Any]


def report(result: Mapping[str, Any]) -> str:
    """All tables, as Markdown."""
    budgets = " / ".join(f"{eps:g}" for eps in result["budgets"])
    own: list[Column[Row]] = [
        Column("views", itemgetter("rule")),
        Column("partner", lambda row: result["partner"] if row["partner"] else "", side="right"),
        Column("rate", itemgetter("rate"), ".0e"),
        *found_columns(budgets),
    ]
    rates = sorted({row["rate"] for row in result["rules"]}, reverse=True)
    rivals: list[Column[Row]] = [
        Column("detector", lambda one: one["name"] + (", own thresholds" if one["weight"] else "")),
        *(
            Column(f"{title} {rate:.0e}", _entry(f"{group} at {rate:.0e}"), _share)
            for group, title in (("usual", "usual"), ("augly", "AugLy"))
            for rate in rates
        ),
    ]
    copies = result["attacked"][0]["copies"] if result["attacked"] else 0
    parts = [
        "# Copies in a collection: rule, views, partner\n",
        f"Measured by `python -m experiments copies.rules` with `{result['metric']}` on "
        f"{result['photographs']} photographs, copies of {result['edited']} of them and "
        f"{result['strangers']} strangers. At a rate, that share of the pairs (stranger, "
        "photograph) is taken for a copy, counted on the strangers themselves; with a partner that "
        f"has {PARTNER:g} of it. Certified is the share of all copies that is found and stays "
        f"so for every change of l2 {budgets} (lengths at 299 px). Where SSCD takes "
        f"part, edits are of the first {result['partner_of']} photographs (hashes: "
        f"{result['hashed_of']}), and strangers "
        "are Imagenette's.\n",
        Table.of(result["rules"], own).markdown(),
        "\n## How the rate is shared\n",
        "Where the partner has this or that part of the rate: what the certified metric finds with "
        "what is left, what either of the two finds (of the partner's photographs), and how much "
        f"of usual edits is certified at {budgets}. At 0 a partner counts where it is surer than "
        f"of any stranger. In an index the partner has {PARTNER:g}.\n",
        Table.of(result["shares"], SHARED).markdown(),
        "\n## Rivals, one threshold each unless said\n",
        Table.of(result["rivals"], rivals).markdown(),
        "\n## Under attack\n",
        f"What is left of {copies} copies at 1e-6: "
        "found by the rule under PGD through all its views; by the partner alone under Square, and "
        "under what PGD made against the rule (transfer: SSCD's package has no gradient); by "
        "either then. Of a partner with a gradient also what PGD on it leaves by it, and what PGD "
        "on both at once leaves by either; its level is one that no two photographs reach. Row 0: "
        "before.\n",
        Table.of(result["attacked"], ATTACKED).markdown(),
        _promised(result["promised"]),
        "\n## The hardest of AugLy's\n",
        _hardest(result),
    ]
    return "\n".join(parts) + "\n"


ATTACKS = (
    *("rule", "partner", "partner, Square", "partner, transfer", "either"),
    *("partner, PGD", "either, PGD"),
)


def _entry(name: str) -> Callable[[Row], float | None]:
    return lambda row: row.get(name)


def _promised(held: Mapping[str, Any]) -> str:
    if not held:
        return ""
    told = held["wrong"]
    columns: list[Column[str]] = [
        Column("wrong a query", str),
        Column("promised", lambda wrong: told[wrong]["promised"], ".1f"),
        Column("counted", lambda wrong: told[wrong]["counted"], "d"),
    ]
    return "\n".join(
        [
            "\n## Wrong answers of the partner, promised and counted\n",
            f"By the rule that ships with SSCD, of {held['strangers']} queries that are copies of "
            f"none of the {held['stored']} stored.\n",
            Table.of(told, columns).markdown(),
        ]
    )


def _hardest(result: Mapping[str, Any]) -> str:
    last = [
        row for row in result["rules"] if row["rate"] == min(r["rate"] for r in result["rules"])
    ]
    by_edit = {(row["rule"], row["partner"]): row["augly by edit"] for row in last}
    thorough, exhaustive = by_edit["thorough", False], by_edit["exhaustive", False]
    worst = sorted(thorough, key=lambda name: thorough[name])[:12]
    columns: list[Column[str]] = [
        Column("edit", str),
        Column("thorough", lambda name: thorough[name], _share),
        Column("exhaustive", lambda name: exhaustive[name], _share),
        Column("with SSCD", lambda name: by_edit["exhaustive", True][name], _share),
    ]
    return Table.of(worst, columns).markdown()


def found_columns(budgets: str) -> list[Column[Row]]:
    """What is found of each group of edits, and certified at the ``budgets`` that a page names."""
    return [
        Column("usual found", itemgetter("usual"), _share),
        Column(f"certified {budgets}", itemgetter("usual certified"), _shares),
        Column("AugLy found", itemgetter("augly"), _share),
        Column(f"certified {budgets}", itemgetter("augly certified"), _shares),
    ]


def _share(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if value in (0, 1) else f"{value:.3f}"


def _shares(values: Sequence[float]) -> str:
    return " / ".join(map(_share, values))


#: What is left under attack, one row a budget.
ATTACKED: list[Column[Row]] = [
    Column("views", itemgetter("views")),
    Column("partner", itemgetter("partner by"), side="right"),
    Column("l2", itemgetter("eps"), "g"),
    *(Column(name, _entry(name), _share, missing="") for name in ATTACKS),
    Column("at commit", lambda row: row["commit"][:12]),
]

#: What is found by how the rate is shared.
SHARED: list[Column[Row]] = [
    Column("views", itemgetter("rule")),
    Column("rate", itemgetter("rate"), ".0e"),
    Column("partner's part", itemgetter("partner"), "g"),
    Column("usual", itemgetter("usual"), _share),
    Column("certified", itemgetter("usual certified"), _shares),
    Column("usual, either", itemgetter("usual by either"), _share),
    Column("AugLy", itemgetter("augly"), _share),
    Column("AugLy, either", itemgetter("augly by either"), _share),
]
