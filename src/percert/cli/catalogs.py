"""``percert metrics`` and ``percert attack list``: what there is."""

from dataclasses import fields

from percert.cli.command import one_line_errors
from percert.cli.options import JsonOption
from percert.cli.output import emit_json, say, show_table
from percert.registry import settings_text
from percert.reports.table import Column, Table


@one_line_errors
def metrics(as_json: JsonOption = False) -> None:
    """List the metrics: what each one measures, and which come with proven bounds.

    [bold]Examples[/bold]

    percert metrics

    percert metrics --json | jq -r '.metrics[] | select(.embedding) | .name'
    """
    from percert.metrics.card import MetricCard
    from percert.metrics.catalog import CATALOG

    cards = list(CATALOG.values())
    if as_json:
        inside = ("where", "settings")
        shown = [field.name for field in fields(MetricCard) if field.name not in inside]
        emit_json({"metrics": [{key: getattr(card, key) for key in shown} for card in cards]})
        return
    columns: list[Column[MetricCard]] = [
        Column("metric", lambda card: card.name),
        Column("range", lambda card: "{:g} - {:g}".format(*card.range)),
        Column("copies up to", lambda card: card.copy_threshold, "g"),
        Column("proven bounds", lambda card: "yes" if card.embedding else "no"),
        Column(
            "works at",
            lambda card: " x ".join(map(str, card.resolution or ())) or "the images' size",
        ),
        Column("what", lambda card: card.summary),
    ]
    show_table(Table.of(cards, columns))
    say("")
    say("All are distances: 0 at identity, lower is closer. The first is the default.")


@one_line_errors
def list_attacks(as_json: JsonOption = False) -> None:
    """List the attacks: what each one does, against what, and its settings with their defaults.

    [bold]Examples[/bold]

    percert attack list

    percert attack list --json | jq '.attacks[] | select(.kind == "minimal") | .name'
    """
    from percert.attacks.catalog import CATALOG, AttackCard

    cards = list(CATALOG.values())
    settings = {card.name: CATALOG.settings(card.name) for card in cards}
    if as_json:
        emit_json(
            {
                "attacks": [
                    {
                        "name": card.name,
                        "kind": card.kind,
                        "goals": list(card.goals),
                        "summary": card.summary,
                        "paper": card.paper,
                        "settings": settings[card.name],
                    }
                    for card in cards
                ]
            }
        )
        return
    columns: list[Column[AttackCard]] = [
        Column("attack", lambda card: card.name),
        Column("kind", lambda card: card.kind),
        Column("against", lambda card: ", ".join(card.goals)),
        Column("what", lambda card: card.summary),
    ]
    show_table(Table.of(cards, columns))
    say("")
    say("Settings and their defaults, as NAME:key=value,key=value:")
    for card in cards:
        shown = settings_text(settings[card.name])
        say(f"  {card.name}:{shown}" if shown else f"  {card.name}")
