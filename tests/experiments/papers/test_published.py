"""With the published data: a made-up NIGHT in its real layout, and weights in their places."""

from dataclasses import replace
from functools import partial

import pytest
from safetensors.torch import save_file

from experiments.papers import CATALOG, Setting, networks, photographs, run_item
from experiments.papers.digests import published_stand, vouched
from experiments.papers.hpot import attacks
from experiments.papers.item import StandIn
from percert.files import file_sha256
from percert.metrics.catalog import create_metric
from percert.metrics.certified.lipsim import LipSimTiny
from percert.metrics.deep.weight_files import WeightFile

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
    assert findings.stands[0].here == "all 3 of the test set in DATA/night"
    assert StandIn("LipSim with the authors' weights", "lipsim-tiny") in findings.stands
    assert not findings.same
    if name == "lipsim-table4":
        measured = {row.what: row.measured for row in findings.rows}
        both = [measured[f"PSNR: {group}"] for group in ("ImageNet", "not ImageNet", "overall")]
        assert both[2] == pytest.approx((2 * both[0] + both[1]) / 3)  # two of the three


def test_the_first_triplets_alone(published, monkeypatch):
    monkeypatch.setattr("experiments.papers.lipsim.triplets.KINDS", ("a", "b"))
    findings = made("lipsim-table2", replace(published, images=1))
    assert findings.stands[0].here == "the first 2 of 3 in DATA/night (--images takes more)"


@pytest.mark.parametrize("name", ["lipsim-figure1", "lipsim-figure5"])
def test_figures_are_made_of_night(name, published):
    findings = made(name, published)
    assert findings.figures
    assert any("night" in stand.here.lower() for stand in findings.stands)
    assert not findings.same  # the paper does not say which triplets it shows


def test_the_authors_weights_make_it_the_papers_own(published, monkeypatch):
    monkeypatch.setattr(networks, "PAPERS_OWN", "lipsim-tiny")
    monkeypatch.setattr("experiments.papers.lipsim.triplets.NIGHT_TEST", 3)
    file = published.data / "lipsim-tiny.safetensors"
    save_file(LipSimTiny().network.state_dict(), file)
    (stand,) = made("lipsim-table2", published).stands  # whose file it is, nobody says
    assert "lipsim-tiny.safetensors (sha256 " in stand.here
    (published.data / "SHA256SUMS").write_text(f"{file_sha256(file)}  {file.name}\n")
    findings = made("lipsim-table2", published)  # what is there now is another setting
    assert findings.same
    first = findings.rows[0]
    assert first.what == "LipSim: natural score"
    assert findings.deviation(first) == pytest.approx(first.measured - 85.09)


def test_fewer_triplets_than_the_papers_are_a_stand_in(published, monkeypatch):
    monkeypatch.setattr(networks, "PAPERS_OWN", "lipsim-tiny")
    file = published.data / "lipsim-tiny.safetensors"
    save_file(LipSimTiny().network.state_dict(), file)
    (published.data / "SHA256SUMS").write_text(f"{file_sha256(file)}  {file.name}\n")
    (stand,) = made("lipsim-table2", published).stands
    assert stand.paper == "NIGHT's 1,824 test triplets, with people's judgements"


def test_a_list_of_digests_that_is_none_is_refused(published):
    (published.data / "SHA256SUMS").write_text("one two\n")
    with pytest.raises(ValueError, match="line 1: expected 64 hexadecimal digits"):
        vouched(published)


def test_published_digests_are_asked_for(published, tmp_path):
    right, wrong = tmp_path / "right.pth", tmp_path / "wrong.pth"
    for file in (right, wrong):
        file.write_bytes(file.name.encode())
    digest = file_sha256(right)[:12]
    files = [WeightFile((name,), "a file", "", digest) for name in ("right.pth", "wrong.pth")]
    assert published_stand(published, "both", tmp_path, files[:1]) is None
    assert "wrong.pth" in published_stand(published, "both", tmp_path, files).here


def test_dreamsim_is_taken_where_its_weights_are(published, monkeypatch):
    asked = []

    def create(name, checkpoint=None, device="cpu"):
        asked.append((name, checkpoint))
        return create_metric("thumbnail", device=device)

    monkeypatch.setattr(networks, "create_metric", create)
    (published.data / "weights" / "dreamsim").mkdir(parents=True)
    (published.data / "weights" / "dreamsim" / "one.pth").write_bytes(b"weights")
    assert not networks.dreamsim_there(published).own
    digest = file_sha256(published.data / "weights" / "dreamsim" / "one.pth")
    (published.data / "SHA256SUMS").write_text(f"{digest}  one.pth\n")
    asked.clear()
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
    assert any("4 of 4 images of DreamSim's" in stand.here for stand in findings.stands)


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
