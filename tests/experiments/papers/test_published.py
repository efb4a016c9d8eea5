"""With the published data: a made-up NIGHT in its real layout, and weights in their places."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from tests.evaluation.test_saliency import onnx_file

from experiments.papers import CATALOG, Setting, networks, photographs, run_item
from experiments.papers.digests import published_stand, vouched
from experiments.papers.hpot import attacks
from experiments.papers.hpot.rivals import LITERAL, WEIGHED
from experiments.papers.item import StandIn
from experiments.papers.lipsim import judges
from percert.evaluation.attack_runs.compare import number_attacks
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
    margin = 0.2 if name == "lipsim-table4" else 0.5  # by their natural scores
    model = f"LipSim of DreamSim, margin {margin}, with the authors' weights"
    assert StandIn(model, "lipsim-tiny") in findings.stands
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


@pytest.fixture
def authors(published, monkeypatch):
    """``authors("dreamsim-0.5")`` puts a file of that model there, and says that it is theirs."""
    monkeypatch.setattr(judges, "network_in", lambda file, _: LipSimTiny(file))
    monkeypatch.setattr("experiments.papers.lipsim.triplets.NIGHT_TEST", 3)
    state = LipSimTiny().network.state_dict()

    def put(model, scale=1.0, *, vouched=True):
        file = published.data / f"lipsim-{model}.safetensors"
        changed = {
            name: value * scale if "bias" in name else value for name, value in state.items()
        }
        save_file(changed, file)
        if vouched:
            with (published.data / "SHA256SUMS").open("a") as sums:
                sums.write(f"{file_sha256(file)}  {file.name}\n")
        return file

    return put


def test_the_authors_weights_make_rows_the_papers_own(published, authors):
    authors("dreamsim-0.5", vouched=False)
    findings = made("lipsim-table2", published)  # whose file it is, nobody says
    assert any("lipsim-dreamsim-0.5.safetensors (sha256 " in one.here for one in findings.stands)
    assert not findings.partly
    authors("dreamsim-0.5")
    findings = made("lipsim-table2", published)
    assert findings.partly
    assert not findings.same  # its table has eight other models
    first = findings.rows[0]
    assert first.what == "LipSim of DreamSim, margin 0.5: natural score"
    assert findings.deviation(first) == pytest.approx(first.measured - 85.09)
    other = next(row for row in findings.rows if row.what.startswith("LipSim of DINO, margin 0.2"))
    assert (other.paper, other.measured) == (88.87, None)


def test_two_models_are_two_files(published, authors):
    authors("dreamsim-0.5")
    authors("dreamsim-0.2", 2.0)
    rows = {row.what: row for row in made("lipsim-table2", published).rows}
    for margin, printed in ((0.5, 85.09), (0.2, 88.6)):
        row = rows[f"LipSim of DreamSim, margin {margin}: natural score"]
        assert (row.paper, row.own) == (printed, True)
    table = {row.what: row for row in made("lipsim-table4", published).rows}
    assert table["LipSim of DreamSim, margin 0.2: ImageNet"].paper == 90.3
    assert table["LipSim of DreamSim, margin 0.5: ImageNet"].paper is None


def test_what_the_authors_ran_is_the_papers_own(published, authors):
    authors("dreamsim-0.5")
    for kind, own in (("short", False), ("authors", True), ("standard", False)):
        here = replace(published, autoattack=kind)
        rows = {row.what: row for row in made("lipsim-table1", here).rows}
        assert rows["LipSim: natural score"].own
        assert rows["LipSim: under attack, l2 2"].own == own
        assert not rows["LipSim: proven, l2 2"].own


def test_fewer_triplets_than_the_papers_are_a_stand_in(published, authors, monkeypatch):
    authors("dreamsim-0.5")
    monkeypatch.setattr("experiments.papers.lipsim.triplets.NIGHT_TEST", 1824)
    findings = made("lipsim-table2", published)
    assert findings.stands[0].paper == "NIGHT's 1,824 test triplets, with people's judgements"
    assert not findings.partly


def test_backbones_of_timm_are_judged_by_their_embeddings(published, monkeypatch):
    folder = published.data / "weights" / "timm"
    folder.mkdir(parents=True)
    for paper in ("DINO ViT-B/16", "MAE ViT-B/16, fine-tuned"):
        (folder / f"{judges.TIMM[paper]}.safetensors").write_bytes(paper.encode())
    asked = []

    def load(spec, device, file):
        asked.append((spec, file.name))
        return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(8), torch.nn.Flatten())

    monkeypatch.setattr(judges, "load_classifier", load)
    judge = judges.timm_judge(published, "DINO ViT-B/16")
    assert asked == [("timm:vit_base_patch16_224.dino", "vit_base_patch16_224.dino.safetensors")]
    one, two = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pooled = [torch.nn.functional.adaptive_avg_pool2d(x, 8).flatten(1) for x in (one, two)]
    cosine = torch.nn.functional.cosine_similarity(*pooled)
    torch.testing.assert_close(judge.metric(one, two), 1 - cosine)
    findings = made("lipsim-table4", published)
    rows = {row.what: row for row in findings.rows}
    assert rows["DINO ViT-B/16, here vit_base_patch16_224.dino.safetensors: ImageNet"].paper == 90.6
    mae = "MAE ViT-B/16, fine-tuned, here timm's MAE ViT-B/16, not fine-tuned on NIGHT: overall"
    assert rows[mae].measured is not None
    assert rows["CLIP ViT-B/16: not ImageNet"].paper == 81.7  # all three columns, of others too
    assert rows["CLIP ViT-B/16: not ImageNet"].measured is None


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
    assert [one.paper for one in judges.attacked_judges(published)][1:] == [
        "DreamSim",
        "CLIP",
        "OpenCLIP",
        "DINO",
    ]
    del asked[1:]
    assert asked == [("dreamsim", published.data / "weights" / "dreamsim")]


def test_the_retrieval_set_is_searched(published, tiny_data):
    folder = published.data / "retrieval"
    folder.mkdir()
    for file in sorted((tiny_data / "imagenet-compatible" / "images").iterdir())[:4]:
        (folder / file.name).write_bytes(file.read_bytes())
    findings = made("lipsim-figure4", published)
    assert any("4 of 4 images of DreamSim's" in stand.here for stand in findings.stands)


def test_lpips_is_measured_where_its_weights_are(setting, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(attacks, "is_packaged", lambda place: False)
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


def test_shift_tolerant_lpips_stands_for_lpips(setting, monkeypatch):
    asked = []

    def create(name, device):
        asked.append(name)
        return create_metric("gmsd", device=device)

    monkeypatch.setattr(attacks, "create_metric", create)
    monkeypatch.setattr(attacks, "is_packaged", lambda place: True)
    findings = made("hpot-figure12", setting)
    assert asked
    assert set(asked) == {"st-lpips-alex"}
    assert StandIn("LPIPS with its weights", "st-lpips-alex") in findings.stands
    assert any("median of LPIPS, here st-lpips-alex" in row.what for row in findings.rows)
    table = {row.what: row for row in made("hpot-table1", setting).rows}
    assert table["PGD (L2): mean LPIPS, here st-lpips-alex x 1000"].measured > 0
    assert table["PGD (L2): mean DISTS x 1000"].measured is None


def test_pieapp_and_resnet_are_taken_where_they_are(setting, tmp_path, monkeypatch):
    monkeypatch.undo()
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    here = replace(setting, data=folder.parent)
    plain = attacks.all_attacks(here)
    costs = {spec.partition("cost=")[2] for spec in plain.values()}
    assert {"st-lpips-alex", "pieapp-untrained"} <= costs
    assert any("1 - SSIM" in stand.here for stand in attacks.stands(here, plain))
    (folder / attacks.PIEAPP).touch()
    (folder / "resnet50-0676ba61.pth").touch()
    found = attacks.all_attacks(here)
    # With the paper's cost there is no need of others beside it.
    assert set(plain) - set(found) == {name for name in plain if ", cost " in name}
    (changed,) = [name for name in found if plain[name] != found[name]]
    assert changed == "Human_Perc_OT (a = 0)"
    assert found[changed].endswith(f"cost=pieapp,checkpoint={folder / attacks.PIEAPP}")
    stands = attacks.stands(here, found)
    assert not any("1 - SSIM" in stand.here for stand in stands)
    assert any("resnet50-0676ba61.pth (sha256 " in one.here for one in stands)
    monkeypatch.setattr(photographs, "load_classifier", lambda *asked: asked)
    (spec, _, file), name = photographs.classifier_there(here)
    assert (spec, name, file.name) == ("torchvision:resnet50", "resnet50", "resnet50-0676ba61.pth")


def test_what_stands_for_what_is_said_of_the_attacks_of_a_table_alone(setting):
    def said(attacks_of_it):
        return [stand.paper.split(" ")[0] for stand in attacks.stands(setting, attacks_of_it)]

    own, rival = {LITERAL.format(0): "human-perc-ot-literal"}, {"PerC_AL": "perc-al:steps=100"}
    both = ["ResNet-50", "1,000"]
    assert said(own) == [*both, "PieAPP"]
    assert said(rival) == [*both, "PerC-AL,"]
    assert StandIn(
        "PerC-AL, whose steps are not printed: 1,000 in its own work", "100 steps"
    ) in attacks.stands(setting, rival)
    # Table 3 is run with PieAPP's network alone: 1 - SSIM has no part in it.
    (*_, cost) = attacks.stands(setting, WEIGHED)
    assert cost.here.startswith("PieAPP's network with random weights")
    assert "1 - SSIM" not in cost.here


def test_rows_of_human_perc_ot_are_the_papers_own_with_its_network_photographs_and_cost(
    setting, tmp_path, monkeypatch
):
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    for name in (attacks.PIEAPP, "resnet50-0676ba61.pth"):
        (folder / name).write_bytes(name.encode())
    here = replace(setting, data=folder.parent, images=1000)
    assert not attacks.own_cost(here, attacks.ATTACKS)  # whose files they are, nobody says
    sums = "".join(f"{file_sha256(file)}  {file.name}\n" for file in folder.iterdir())
    (folder.parent / "SHA256SUMS").write_text(sums)
    assert attacks.own_cost(here, attacks.ATTACKS)
    assert not attacks.own_cost(replace(here, images=999), attacks.ATTACKS)
    monkeypatch.setattr("experiments.papers.hpot.tables.own_cost", lambda *_: True)
    table = made("hpot-table1", setting)
    own = {row.what for row in table.rows if row.own and row.paper is not None}
    names = ("success", "mean L1", "mean L2", "mean Linf")
    assert own == {f"Human_Perc_OT (a = 0): {name}" for name in names}
    assert table.partly  # the settings of its rivals are not printed
    assert {row.what for row in made("hpot-table4", setting).rows if row.own} == {
        f"step {step}: {name}" for step in (0.05, 0.1, 0.2) for name in names
    }


def test_the_best_network_that_is_there_is_attacked(setting, monkeypatch):
    monkeypatch.setattr(photographs, "load_classifier", lambda *asked: asked[0])
    assert photographs.classifier_there(setting)[1] == "squeezenet1_0"  # its file is named
    packaged = replace(setting, weights=None)
    monkeypatch.setattr(photographs, "is_packaged", lambda place: True)
    assert photographs.classifier_there(packaged)[1] == "efficientnet-lite0"
    monkeypatch.setattr(photographs, "is_packaged", lambda place: False)
    assert photographs.classifier_there(packaged)[1] == "squeezenet1_0"


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


def test_maps_are_egnets_where_its_file_is(setting, tiny_data, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs an extra that runs ONNX")
    pytest.importorskip("onnx", reason="makes the file")
    folder = tmp_path / "with"
    (folder / "weights").mkdir(parents=True)
    (folder / "imagenet-compatible").symlink_to(tiny_data / "imagenet-compatible")
    onnx_file(folder / "weights" / "egnet.onnx")
    findings = made("hpot-table2", replace(setting, data=folder))
    rows = {row.what: row for row in findings.rows}
    row = rows["PGD (L2), EGNet: mean L1"]
    assert row.paper == 385.7
    assert row.measured > 0
    assert not any("OpenCV" in stand.here for stand in findings.stands)
    egnet = StandIn("EGNet with its authors' weights", "the file in DATA/weights")
    assert egnet in findings.stands  # whose file it is, no published digest says


def test_distances_are_told_where_half_of_the_files_succeed():
    def entry(share):
        rows = [
            {"attack": "a", "image": str(place), "attacked": True, "success": True,
             "success_8bit": place < share * 4, "seconds": 1.0, "cpu_seconds": 1.0,
             "model_calls": 1.0, "l2": 2.0}
            for place in range(4)
        ]  # fmt: skip
        (found,) = number_attacks(rows, ["l2"])
        return found

    assert attacks.mean_of(entry(0.5), "l2") == 2.0
    assert attacks.mean_of(entry(0.25), "l2") is None  # of the easiest photograph alone
    assert attacks.mean_of(None, "l2") is None
