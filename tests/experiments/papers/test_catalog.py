"""The catalog has every table and figure, and invents nothing."""

import importlib
import re

import pytest

from experiments.papers import CATALOG, find_item, needs
from experiments.papers.hpot import attacks
from experiments.papers.item import UNKNOWN
from percert.metrics.deep import backbones, dists, lpips, pieapp

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
#: Those of who publishes what the papers do not link to.
PUBLISHED = (
    "https://data.csail.mit.edu/nights/nights.zip",
    "https://github.com/ssundaram21/dreamsim",
    "https://image-net.org/download.php",
    "https://github.com/cleverhans-lab/cleverhans/",
    "https://download.pytorch.org/models/",
    "https://github.com/photosynthesis-team/piq/releases/download/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://huggingface.co/timm",
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
    assert item.run or not item.offline
    assert bool(item.run) == (item.state != "nothing to run")
    if item.run:
        module, function = item.run.split(":")
        assert callable(getattr(importlib.import_module(module), function))
    for need in (*item.needs, *item.needs_offline):
        assert need.address in (UNKNOWN, *PRINTED) or need.address.startswith(PUBLISHED)
        assert need.size == UNKNOWN or any(letter.isdigit() for letter in need.size)
        assert need.place
    # What a stand-in shows is one sentence.
    assert item.shows.count(". ") == 0
    assert item.shows.endswith(".") or not item.run or name == "hpot-section4"
    assert item.state != "nothing to run" or re.search("nothing is measured", item.how)


def test_weights_go_where_the_metrics_look_for_them():
    for need, file in (
        (needs.PIEAPP, pieapp.FILE),
        (needs.DISTS, dists.FILE),
        (needs.LPIPS, lpips.heads_file("alex")),
        (needs.ALEXNET, backbones.FILES["alex"]),
        (needs.VGG16, backbones.FILES["vgg"]),
    ):
        assert need.place.removeprefix("DATA/weights/") == file.names[0]
    assert needs.PIEAPP.address == pieapp.FILE.url
    assert needs.ALEXNET.address == backbones.FILES["alex"].url
    assert needs.VGG16.address == backbones.FILES["vgg"].url
    assert needs.PIEAPP.place.endswith(attacks.PIEAPP)


def test_an_unknown_name_has_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'hpot-table1'"):
        find_item("hpot-tabel1")
