"""``percert attack list``: the catalog."""

from percert.cli.failure import one_line_errors
from percert.cli.options import JsonOption
from percert.cli.output import emit_json, say, show_table


@one_line_errors
def list_attacks(as_json: JsonOption = False) -> None:
    """List the attacks: what each one does, against what, and its settings with their defaults.

    [bold]Examples[/bold]

    percert attack list

    percert attack list --json | jq '.attacks[] | select(.kind == "minimal") | .name'
    """
    from percert.attacks.catalog import CATALOG, attack_settings

    cards = list(CATALOG.values())
    settings = {card.name: attack_settings(card.name) for card in cards}
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
