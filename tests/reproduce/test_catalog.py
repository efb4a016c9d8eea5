"""The catalog has every table and figure, and invents nothing."""

import importlib
import re

import pytest

from percert.reproduce import CATALOG, find_item
from percert.reproduce.item import UNKNOWN

#: The addresses that the papers print: LipSim on its first page and for retrieval, the other in
#: appendices D and E.
PRINTED = (
    "https://github.com/SaraGhazanfari/LipSim",
    "https://github.com/ssundaram21/dreamsim/releases/download/v0.1.0/retrieval_images.zip",
    "https://github.com/prashnani/PerceptualImageError",
    "https://github.com/richzhang/PerceptualSimilarity",
    "https://github.com/dingkeyan93/DISTS",
    "https://github.com/JXingZhao/EGNet",
    "https://www.flickr.com/services/api/",
    "https://data.worldbank.org/indicator/NY.GDP.PCAP.CD",
)


def test_every_table_and_figure_has_a_name():
    lipsim = [f"lipsim-table{n}" for n in range(1, 5)]
    lipsim += [f"lipsim-figure{n}" for n in ("1", "2", "3a", "3b", "4", "5", "6", "7")]
    hpot = [f"hpot-table{n}" for n in range(1, 7)] + [f"hpot-figure{n}" for n in range(1, 14)]
    assert set(CATALOG) == {*lipsim, *hpot, "hpot-section4"}
    for name, item in CATALOG.items():
        assert name.startswith(f"{item.paper}-")


@pytest.mark.parametrize("name", CATALOG)
def test_an_item_says_what_can_be_done(name):
    item = CATALOG[name]
    assert bool(item.run) == bool(item.offline)
    if item.run:
        module, function = item.run.split(":")
        assert callable(getattr(importlib.import_module(module), function))
    for need in (*item.needs, *item.needs_offline):
        assert need.address == UNKNOWN or need.address in PRINTED
        assert need.size == UNKNOWN or "squeezenet" in need.what.lower()
        assert need.place
    assert item.state != "nothing to run" or re.search("nothing is measured", item.how)


def test_an_unknown_name_has_a_suggestion():
    with pytest.raises(ValueError, match="did you mean hpot-table1"):
        find_item("hpot-tabel1")
