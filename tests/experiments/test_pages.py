"""Each page of results that is made of one JSON file says what that file says, letter by letter."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parents[2] / "docs" / "results"


class Told(dict[str, Any]):
    """A JSON object whose entries are attributes as well, as those of the dataclass it was."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def told(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"), object_hook=Told)


#: The module and function that write each page, and which part of the JSON they take.
PAGES = {
    "attack-agreement": ("attacks.agreement", "report", "rows"),
    "attack-speed-cpu": ("attacks.speed", "report", None),
    "attacks": ("attacks.comparison", "report", "groups"),
    "certified-edits": ("copies.certified_edits", "report", None),
    "closed-form": ("attacks.closed_form", "report", "races"),
    "copies-ablation": ("copies.ablation", "report", None),
    "copies-inside": ("copies.inside", "report", None),
    "copies-larger": ("copies.larger", "report", None),
    "copies-rules": ("copies.rules_report", "report", None),
    "linf-rates-mnist": ("copies.linf_digits", "report", None),
    "seen-beside": ("people.beside_seen", "page", None),
    "wider-ranges": ("copies.wider_ranges", "report", None),
    "copies-per-query": ("copies.per_query", "report", None),
    "human-perc-ot": ("papers.hpot.page", "page", None),
    "linf-rates": ("copies.linf_rates", "report", None),
    "reproduce": ("papers.page", "page", None),
    "named-metrics": ("papers.lipsim.named", "page", None),
    "people": ("people.agreement", "report", None),
    "people-attacks": ("people.attacks_page", "page", None),
    "search-copies": ("copies.collection", "report", None),
    "seen": ("people.seen", "page", None),
    "smoothing": ("copies.smoothing", "report", None),
    "twoafc-attacked": ("triplets.attacked", "markdown", None),
    "twoafc-bounds": ("triplets.bounds", "report", None),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_that_of_its_numbers(name: str) -> None:
    module, function, part = PAGES[name]
    write = getattr(import_module(f"experiments.{module}"), function)
    found = told(name) if part is None else told(name)[part]
    assert write(found) == (RESULTS / f"{name}.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["tables", "search"])
def test_the_page_of_many_results_is_that_of_their_numbers(name: str) -> None:
    module = {"tables": "tables", "search": "search.tables"}[name]
    page = import_module(f"experiments.{module}").report(RESULTS)
    assert page == (RESULTS / f"{name}.md").read_text("utf-8")
