"""``percert metrics`` and ``percert attack list``: what there is."""

from dataclasses import fields

from percert.cli.command import one_line_errors
from percert.cli.options import JsonOption
from percert.cli.output import emit_json, say, show_table


@one_line_errors
def metrics(as_json: JsonOption = False) -> None:
    """List the metrics: what each one measures, and which come with proven bounds.

    [bold]Examples[/bold]

    percert metrics

    percert metrics --json | jq -r '.metrics[] | select(.embedding) | .name'
    """
    from percert.metrics.catalog import CATALOG
    from percert.metrics.metric import MetricCard

    cards = list(CATALOG.values())
    if as_json:
        shown = [field.name for field in fields(MetricCard) if field.name != "factory"]
        emit_json({"metrics": [{key: getattr(card, key) for key in shown} for card in cards]})
        return
    show_table(
        [
            ("metric", "left"),
            ("range", "left"),
            ("copies up to", "right"),
            ("proven bounds", "left"),
            ("works at", "left"),
            ("what", "left"),
        ],
        [
            [
                card.name,
                f"{card.range[0]:g} - {card.range[1]:g}",
                "-" if card.copy_threshold is None else f"{card.copy_threshold:g}",
                "yes" if card.embedding else "no",
                " x ".join(map(str, card.resolution)) if card.resolution else "the images' size",
                card.summary,
            ]
            for card in cards
        ],
    )
    say("")
    say("All are distances: 0 at identity, lower is closer. The first is the default.")


@one_line_errors
def list_attacks(as_json: JsonOption = False) -> None:
    """List the attacks: what each one does, against what, and its settings with their defaults.

    [bold]Examples[/bold]

    percert attack list

    percert attack list --json | jq '.attacks[] | select(.kind == "minimal") | .name'
    """
    from percert.attacks.catalog import CATALOG

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
    show_table(
        [("attack", "left"), ("kind", "left"), ("against", "left"), ("what", "left")],
        [[card.name, card.kind, ", ".join(card.goals), card.summary] for card in cards],
    )
    say("")
    say("Settings and their defaults, as NAME:key=value,key=value:")
    for card in cards:
        shown = ",".join(f"{key}={value}" for key, value in settings[card.name].items())
        say(f"  {card.name}:{shown}" if shown else f"  {card.name}")
