"""With the published data: a made-up NIGHT in its real layout, and weights in their places."""

from dataclasses import replace
from functools import partial

import pytest
from safetensors.torch import save_file

from experiments.papers import CATALOG, Setting, networks, photographs, run_item
from experiments.papers.hpot import attacks
from percert.metrics.catalog import create_metric
from percert.metrics.certified.lipsim import LipSimTiny

NAME = "squeezenet1_0-imagenet.safetensors"

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def published(night_data, tiny_data, tmp_path):
    """Settings with NIGHT, and SqueezeNet's weights from elsewhere."""
    return Setting(tmp_path / "out", night_data, tiny_data / NAME, images=9)


def made(name, setting):
    outcome = run_item(CATALOG[name], setting)
    assert outcome.state == "made", outcome.reason
    return outcome.findings


@pytest.mark.parametrize(
    "name", ["lipsim-table1", "lipsim-table2", "lipsim-table3", "lipsim-table4", "lipsim-figure3a"]
)
def test_tables_are_made_of_night(name, published):
    findings = made(name, published)
    assert findings.differs[0] == "3 triplets: all of NIGHT's test set."
    row = next(row for row in findings.rows if "lipsim-tiny" in row.what)
    assert row.deviation == pytest.approx(row.measured - row.paper)
    assert not findings.same  # lipsim-tiny is another network than the paper's
    if name == "lipsim-table4":
        measured = {row.what: row.measured for row in findings.rows}
        both = [measured[f"PSNR: {group}"] for group in ("ImageNet", "not ImageNet", "overall")]
        assert both[2] == pytest.approx((2 * both[0] + both[1]) / 3)  # two of the three


def test_the_first_triplets_alone(published, monkeypatch):
    monkeypatch.setattr("experiments.papers.lipsim.triplets.KINDS", ("a", "b"))
    findings = made("lipsim-table2", replace(published, images=1))
    assert findings.differs[0] == (
        "2 triplets: the first of 3 (--images takes more) of NIGHT's test set."
    )


@pytest.mark.parametrize("name", ["lipsim-figure1", "lipsim-figure5"])
def test_figures_are_made_of_night(name, published):
    findings = made(name, published)
    assert findings.figures
    assert any("NIGHT" in said for said in findings.differs)
    assert findings.same == (name == "lipsim-figure5")


def test_the_authors_weights_make_it_the_papers_own(published, monkeypatch):
    monkeypatch.setattr(networks, "PAPERS_OWN", "lipsim-tiny")
    save_file(LipSimTiny().network.state_dict(), published.data / "lipsim-tiny.safetensors")
    findings = made("lipsim-table2", published)
    assert findings.same
    assert findings.rows[0].what == "LipSim: natural score"
    assert findings.rows[0].paper == 85.09


def test_dreamsim_is_taken_where_its_weights_are(published, monkeypatch):
    asked = []

    def create(name, checkpoint=None, device="cpu"):
        asked.append((name, checkpoint))
        return create_metric("thumbnail", device=device)

    monkeypatch.setattr(networks, "create_metric", create)
    (published.data / "weights" / "dreamsim").mkdir(parents=True)
    judge = networks.dreamsim_there(published)
    assert judge.own
    assert judge.name == "DreamSim"
    assert asked == [("dreamsim", published.data / "weights" / "dreamsim")]


def test_the_retrieval_set_is_searched(published, tiny_data):
    folder = published.data / "retrieval"
    folder.mkdir()
    for file in sorted((tiny_data / "imagenet-compatible" / "images").iterdir())[:4]:
        (folder / file.name).write_bytes(file.read_bytes())
    findings = made("lipsim-figure4", published)
    assert any("4 queries among 4 images of DreamSim's" in said for said in findings.differs)


def test_lpips_is_measured_where_its_weights_are(setting, tiny_data, tmp_path, monkeypatch):
    missing = run_item(CATALOG["hpot-figure12"], setting)
    assert missing.state == "not offline"
    assert "weights of LPIPS" in missing.reason
    assert not (setting.out / "attacked-photographs").exists()  # nothing was attacked in vain
    folder = tmp_path / "with"
    (folder / "weights").mkdir(parents=True)
    (folder / "imagenet-compatible").symlink_to(tiny_data / "imagenet-compatible")
    here = replace(setting, data=folder, weights=tiny_data / NAME, out=tmp_path / "out-with")
    assert run_item(CATALOG["hpot-figure12"], here).state == "not offline"  # the folder is empty
    gmsd = partial(create_metric, "gmsd", None)
    monkeypatch.setattr(networks, "create_metric", lambda name, checkpoint, device: gmsd(device))
    findings = made("hpot-figure12", here)
    assert any(row.measured for row in findings.rows if row.what.endswith("median of LPIPS"))
    table = {row.what: row for row in made("hpot-table1", here).rows}
    row = table["PGD (L2): mean LPIPS x 1000"]
    assert row.paper == 7.823
    assert row.measured > 0


def test_pieapp_and_resnet_are_taken_where_they_are(setting, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    here = replace(setting, data=folder.parent)
    plain = attacks.all_attacks(here)
    assert not any("pieapp" in spec for spec in plain.values())
    (folder / attacks.PIEAPP).touch()
    (folder / "resnet50-0676ba61.pth").touch()
    found = attacks.all_attacks(here)
    (changed,) = [name for name in plain if plain[name] != found[name]]
    assert changed == "Human_Perc_OT (a = 0)"
    assert found[changed].endswith(f"cost=pieapp,checkpoint={folder / attacks.PIEAPP}")
    said = attacks.differs(here)
    assert not any("ResNet-50 in the paper" in one or "PieAPP in the paper" in one for one in said)
    monkeypatch.setattr(photographs, "load_classifier", lambda *asked: asked)
    (spec, _, file), name = photographs.classifier_there(here)
    assert (spec, name, file.name) == ("torchvision:resnet50", "resnet50", "resnet50-0676ba61.pth")


@pytest.mark.parametrize("place", [".", "geo"])
def test_shares_of_countries(place, tmp_path):
    folder = tmp_path / "data" / place
    folder.mkdir(parents=True)
    setting = Setting(tmp_path / "out", tmp_path / "data")
    (folder / "images.csv").write_text("image,country\na,US\nb,US\nc,\nd,FR\n")
    found = {row.what: row.measured for row in made("hpot-figure13", setting).rows}
    assert found["images"] == 3  # the one in no country does not count
    assert found["share of US"] == pytest.approx(200 / 3)
    (folder / "countries.csv").write_text("group,images,log_gdp\nUS,60,4\nFR,40,4\n")
    findings = made("hpot-figure13", replace(setting, seed=1))
    rows = {row.what: row for row in findings.rows}
    assert rows["images"].deviation == 100 - 103995
    assert rows["countries"].measured == 2
    assert rows["countries with at least 50 images"].measured == 1
    (figure,) = findings.figures
    assert "100 images" in figure.caption


def test_a_table_that_says_nothing_is_refused(tmp_path):
    (tmp_path / "countries.csv").write_text("group,images\nUS,many\n")
    outcome = run_item(CATALOG["hpot-figure13"], Setting(tmp_path / "out", tmp_path))
    assert outcome.state == "failed"
    assert "line 2: expected a number" in outcome.reason
