"""Every item that can be made from small data, on tiny data."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy

from experiments.papers import CATALOG, run_item
from experiments.papers.hpot import attacks as photograph_attacks
from experiments.papers.hpot import figures, groups
from experiments.papers.item import weights_file
from experiments.papers.lipsim import attacked
from experiments.papers.lipsim.judges import MAIN
from experiments.papers.lipsim.triplets import Triplets
from experiments.papers.printed import LIPSIM_TABLE_2
from percert.data.triplets import Triplet
from percert.defences import create_defence
from percert.evaluation.twoafc.evaluate import TripletBatch
from percert.images import load_image
from percert.models import load_classifier
from percert.models.card import shipped_card
from percert.reports import read_records

NAME = "squeezenet1_0-imagenet.safetensors"

pytestmark = pytest.mark.usefixtures("quick")


def made(name, setting):
    outcome = run_item(CATALOG[name], setting)
    assert outcome.state == "made", outcome.reason
    return outcome.findings


def values(findings):
    return {row.what: row.measured for row in findings.rows}


@pytest.mark.parametrize(
    "name",
    [
        "hpot-table1",
        "hpot-table6",
        "hpot-figure4",
        "hpot-figure5",
        "hpot-figure7",
        "hpot-figure10",
    ],
)
def test_attacks_on_photographs(name, setting):
    findings = made(name, setting)
    assert findings.differs
    assert not findings.same
    found = values(findings)
    if name == "hpot-table1":
        by_name = {row.what: row for row in findings.rows}
        assert by_name["PGD (L2): mean L2"].paper == 1.561
        assert found["PGD (L2): success"] == 100
        assert found["PGD (L2): mean L2"] > 0
        # Of PGD's floats rounding makes files of another length; "ascent" returns files.
        floats = by_name["PGD (L2): mean L2 of the floats, before rounding"]
        assert floats.paper == 1.561
        assert floats.measured == pytest.approx(found["PGD (L2): mean L2"], rel=1e-3)
        assert 0 <= found["PGD (L2): observers who would notice"] <= 100
    if name == "hpot-table6":
        rows = read_records(setting.out / "attacked-photographs" / "records.parquet")
        for title, spec in photograph_attacks.ATTACKS.items():
            # What else runs on the machine is no part of it.
            took = [r["cpu_seconds"] for r in rows if r["attack"] == spec and r["attacked"]]
            mean = 1000 * sum(took) / len(took)
            assert found[f"{title}: seconds for 1,000 images"] == pytest.approx(mean)
    if name == "hpot-figure5":
        # As the paper draws it, with more confidence as well.
        assert "a = 5: median of 1 - SSIM" in found
    if name == "hpot-figure7":
        assert found == survival(setting)


def survival(setting):
    """The shares that fool the network as files and behind a defence, made anew from the files."""
    model = load_classifier("squeezenet1_0", "cpu", weights_file(setting))
    folder = setting.out / "attacked-photographs"
    rows = read_records(folder / "records.parquet")
    titles = {spec: title for title, spec in photograph_attacks.ATTACKS.items()}
    titles |= {spec: title for title, spec in figures.CONFIDENT.items()}
    originals = setting.data / "imagenet-compatible" / "images"
    found = {}
    for text in ("jpeg-75", "bits-5"):
        defence = create_defence(text)

        def fooled(path, label, defence=defence):
            return model(defence(load_image(path)[None])).argmax().item() != label

        for attack, title in titles.items():
            some = [row for row in rows if row["attack"] == attack and row["attacked"]]
            before = [fooled(originals / row["image"], row["label"]) for row in some]
            found[f"no attack through {text}"] = 100 * sum(before) / len(some)
            after = [
                row["success_8bit"] and fooled(folder / row["file"], row["label"]) for row in some
            ]
            found[f"{title} through {text}"] = 100 * sum(after) / len(some)
    return found


def test_an_attack_is_made_once_for_all_items(setting, monkeypatch):
    made("hpot-table1", setting)
    shared = setting.out / "attacked-photographs"
    before = (shared / "records.parquet").read_bytes()

    def fail(*_, **__):
        raise AssertionError("attacked again")

    monkeypatch.setattr("percert.runs.attack.attack_batch", fail)
    made("hpot-table6", setting)
    assert (shared / "records.parquet").read_bytes() == before


def test_moves_stay_below_what_is_proven(setting):
    findings = made("lipsim-figure7", setting)
    found = values(findings)
    largest = found["LipSim, here lipsim-tiny: largest d(x, x + delta)"]
    assert 0 < largest <= found["LipSim, here lipsim-tiny: largest d that is possible, proven"]
    assert found["LipSim, here lipsim-tiny: share with d(x, x + delta) > 0.5"] == 0
    assert [figure.caption.split(",")[0] for figure in findings.figures] == [
        "By lipsim-tiny",
        "By SqueezeNet's features",
    ]
    assert all("in l2 (3 steps of PGD)" in figure.caption for figure in findings.figures)
    farther = made("lipsim-figure6", setting)
    assert len(farther.figures) == 1
    near = values(made("lipsim-figure3b", setting))
    what = "LipSim, here lipsim-tiny: mean d(x, x + delta)"
    assert near[what] < values(farther)[what]


def test_certified_scores_fall_with_the_radius(setting):
    found = values(made("lipsim-table2", setting))
    natural = found[f"{MAIN}, here lipsim-tiny: natural score"]
    for kind in ("Eq. 8", "the exact radius"):
        scores = [
            found[f"{MAIN}, here lipsim-tiny: certified by {kind}, {level}/255"]
            for level in LIPSIM_TABLE_2[MAIN][1]
        ]
        if None in scores:
            continue
        assert natural >= scores[0] >= scores[1] >= scores[2] >= 0


def test_attacks_leave_no_more_than_the_natural_score_and_say_how_far_they_are(setting):
    told = []
    findings = made("lipsim-table1", replace(setting, watch=lambda *step: told.append(step)))
    by_name = {row.what: row for row in findings.rows}
    for title in ("lipsim-tiny", "SqueezeNet's features"):
        name = f"{'LipSim' if title == 'lipsim-tiny' else 'DreamSim'}, here {title}"
        natural = by_name[f"{name}: natural score"]
        scores = [by_name[f"{name}: under attack, l2 {eps:g}"] for eps in (0.5, 2)]
        measured = [natural.measured, *(row.measured for row in scores)]
        assert measured == sorted(measured, reverse=True)
        assert None not in [row.paper for row in (natural, *scores)]
        assert findings.deviation(natural) is None  # of a stand-in
        steps = [(done, total) for what, done, total in told if what.startswith(title)]
        assert steps[0][0] < steps[-1][0] == steps[-1][1]
    assert by_name["LipSim, here lipsim-tiny: under attack, l2 2"].paper == 65.62
    assert by_name["CLIP: under attack, l2 2"].measured is None


def test_triplets_are_judged_once_for_all_items(setting, monkeypatch):
    natural = values(made("lipsim-table1", setting))

    def fail(*_):
        raise AssertionError("attacked again")

    monkeypatch.setattr("percert.evaluation.twoafc.evaluate.TripletBatch._attack", fail)
    key = "here lipsim-tiny: natural score"
    assert values(made("lipsim-table2", setting))[f"{MAIN}, {key}"] == natural[f"LipSim, {key}"]
    bars = values(made("lipsim-figure3a", setting))
    under = "LipSim, here lipsim-tiny: under attack, l2 2"
    assert bars[under] == natural[under]


def test_natural_scores_of_groups(setting, tmp_path):
    rows = {row.what: row for row in made("lipsim-table4", setting).rows}
    assert rows["PSNR: overall"].paper == 57.1
    assert rows["PSNR: overall"].measured == 100  # of two noises the stronger is the farther
    assert rows["PSNR: ImageNet"].measured is None  # there are none of ImageNet's here
    assert rows["LPIPS: overall"].measured is None
    assert rows["gmsd: overall"].paper is None


def test_what_is_as_far_as_an_attacked_picture(setting):
    findings = made("lipsim-figure1", setting)
    assert len(findings.figures) == 2
    found = values(findings)
    for name in ("DreamSim, here SqueezeNet's features", "LipSim, here lipsim-tiny"):
        assert found[f"{name}: mean d(x, x + delta)"] > 0
        share = found[f"{name}: mean share of the others that are nearer than it"]
        some = found[f"{name}: pictures with another one nearer than their attacked version"]
        assert 0 < share <= some


def test_nearest_pictures_stay_where_that_is_proven(setting):
    found = values(made("lipsim-figure4", setting))
    ours = "LipSim, here lipsim-tiny"
    assert (
        found[f"{ours}: proven to stay within l2 2"]
        <= (found[f"{ours}: nearest image unchanged under attack"])
    )
    assert (setting.out / "lipsim-figure4" / "queries-of-10" / "records.parquet").is_file()


def test_triplets_to_look_at(setting):
    findings = made("lipsim-figure5", setting)
    assert len(findings.figures) == 1
    assert not findings.rows


def test_saliency_maps_by_opencv(setting):
    pytest.importorskip("cv2")
    outcome = run_item(CATALOG["hpot-table2"], setting)
    if outcome.state == "data missing":
        pytest.skip(outcome.reason)
    rows = {row.what: row for row in outcome.findings.rows}
    first = rows["PGD (L2), spectral-residual: mean L1"]
    assert first.paper == 385.7
    assert first.measured > 0
    assert rows["PGD (L2), fine-grained: mean L1"].paper is None
    assert not outcome.findings.same
    assert made("hpot-figure6", setting).figures
    made("hpot-figure11", setting)


def test_digits_under_one_step(setting):
    findings = made("hpot-figure9", setting)
    found = values(findings)
    ours, theirs = "SSIM step, eps 10", "gradient step, eps 10"
    assert found["digits of the test set"] == 600  # both halves, each by the other's network
    assert 20 < found["of which right, and attacked"] <= 100  # of few digits little is learnt
    assert min(found[f"{step}: success as files"] for step in (ours, theirs)) > 0
    for what in ("mean 1 - SSIM where both succeed", "mean l2 where both succeed"):
        assert found[f"{ours}: {what}"] < found[f"{theirs}: {what}"]
    # With windows inside the image the step is a frame that SSIM hardly sees.
    inside = "SSIM step, windows inside, eps 10: mean 1 - SSIM where both succeed"
    both = [found[inside], found[f"{ours}: mean 1 - SSIM where both succeed"]]
    assert both[0] is None or both[0] < both[1]
    assert [stand.paper[:9] for stand in findings.stands] == ["a network"]
    ones = made("hpot-figure3", setting)
    assert values(ones)["digits of the test set"] == 60
    assert len(ones.figures) == 1


def test_the_audit_by_brightness(setting):
    findings = made("hpot-figure8", setting)
    found = values(findings)
    of = "squeezenet1_0: "
    assert found[of + "groups"] == 6
    assert found[of + "its denominator's degrees of freedom"] == 4
    statistic = found[of + "F of the slope, the paper's covariance"]
    assert found[of + "its p-value"] == pytest.approx(stats.f.sf(statistic, 1, 4))
    assert len(findings.figures) == 1
    assert any("fairness.dro --models 50" in stand.here for stand in findings.stands)


def test_the_audit_of_faces_by_age_and_of_classes_by_brightness(setting, tiny_data, tmp_path):
    folder = tmp_path / "data"
    (folder / "audits").mkdir(parents=True)
    for name in ("imagenet-compatible", NAME):
        (folder / name).symlink_to(tiny_data / name)
    rows = [
        # Of groups of 60, from age 0 to 4, 5 to 9 ..., one more is right in each: and one of 10.
        f"{model},face-{age}-{i},{age},{int(i < 20 + step + place)}"
        for place, model in enumerate(("one", "two"))
        for step, age in enumerate((2, 7, 13, 16, 21, 90))
        for i in range(10 if age == 90 else 60)
    ]
    with gzip.open(folder / "audits" / "face-gender.csv.gz", "wt") as file:
        file.write("\n".join(["model,image,age,correct", *rows]) + "\n")
    pictures = tiny_data / "imagenet-compatible" / "images"
    (folder / "tiny-imagenet-64" / "val" / "images").mkdir(parents=True)
    names = {"n1": "Goldfish, Carassius auratus", "n2": "tench", "n3": "no such thing", "n4": "eft"}
    listed = [f"{wnid}\t{name}" for wnid, name in names.items()]
    (folder / "tiny-imagenet-64" / "words.txt").write_text("\n".join(listed) + "\n")
    (folder / "tiny-imagenet-64" / "wnids.txt").write_text("n1\nn2\nn3\nn4\n")
    lines = []
    for place, source in enumerate(sorted(pictures.iterdir())):
        (folder / "tiny-imagenet-64" / "val" / "images" / source.name).symlink_to(source)
        lines.append(f"{source.name}\t{['n1', 'n2', 'n3', 'n4'][place % 4]}\t0\t0\t9\t9")
    (folder / "tiny-imagenet-64" / "val" / "val_annotations.txt").write_text("\n".join(lines))
    assert groups.tiny_classes(folder / "tiny-imagenet-64") == {"n1": 1, "n2": 0, "n4": 27}
    # Two classes of what the network says, so that some are right.
    model = load_classifier("squeezenet1_0", "cpu", folder / NAME)
    known = shipped_card("efficientnet-lite0").class_names
    for place, wnid in enumerate(("n1", "n2")):
        image = load_image(sorted(pictures.iterdir())[place])[None]
        names[wnid] = known[int(model(image).argmax())]
    listed = [f"{wnid}\t{name}" for wnid, name in names.items()]
    (folder / "tiny-imagenet-64" / "words.txt").write_text("\n".join(listed) + "\n")
    findings = made("hpot-figure8", replace(setting, data=folder, weights=folder / NAME))
    found = values(findings)
    assert found["one: groups"] == found["two: groups"] == 5
    assert found["squeezenet1_0, Tiny ImageNet: groups"] == 3
    slope = np.polyfit([2, 7, 13, 16, 21], np.arange(20, 25) / 60, 1)[0]
    told = found["one: slope, accuracy for 10 more of age"]
    assert told == pytest.approx(10 * slope)
    assert found["two: slope, accuracy for 10 more of age"] == pytest.approx(told)
    assert len(findings.figures) == 3


def test_a_run_that_was_killed_goes_on_where_it_was(setting, monkeypatch):
    attack, calls = TripletBatch._attack, []

    def killed(self, planned, worth):
        calls.append(planned.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return attack(self, planned, worth)

    monkeypatch.setattr(TripletBatch, "_attack", killed)
    with pytest.raises(KeyboardInterrupt):
        run_item(CATALOG["lipsim-table1"], setting)
    first, second = calls
    made("lipsim-table1", setting)
    assert calls.count(first) == 2  # by the other metric: by this one it was kept
    assert calls.count(second) == 3


def test_standard_is_every_part_of_autoattack(setting):
    standard = replace(setting, images=1, autoattack="standard")
    findings = made("lipsim-table3", standard)
    assert any("all four parts of AutoAttack" in stand.here for stand in findings.stands)
    found = values(findings)
    ours = "LipSim, here lipsim-tiny"
    assert found[f"{ours}: under AutoAttack, linf 0.02"] <= found[f"{ours}: natural score"]
    shared = setting.out / "judged-triplets" / "lipsim-tiny" / "records.parquet"
    attacks = {row["attack"].partition(":")[0] for row in read_records(shared)}
    assert attacks == {"none", "apgd", "fab", "square", "pgd"}


def test_pgd_on_logits_for_labels_attacks_the_metrics_own_choice():
    generator = torch.Generator().manual_seed(0)
    logits = torch.rand(500, 2, generator=generator).requires_grad_(True)  # below 2 together
    cross_entropy(logits, logits.detach(), reduction="sum").backward()
    ours = logits.detach().clone().requires_grad_(True)
    cross_entropy(ours, ours.argmax(1), reduction="sum").backward()
    assert torch.equal(logits.grad.sign(), ours.grad.sign())


def test_the_own_choice_is_peoples_where_all_are_right(setting):
    found = values(made("lipsim-table3", replace(setting, images=6)))  # both sides occur
    for name in ("LipSim, here lipsim-tiny", "DreamSim, here SqueezeNet's features"):
        assert found[f"{name}: natural score"] == 100
        theirs = found[f"{name}: under PGD on its own choice, linf 0.02"]
        assert theirs == pytest.approx(found[f"{name}: under PGD, linf 0.02"])


def test_a_wrong_triplet_counts_once_pgd_has_turned_it(setting, monkeypatch):
    """Two triplets: one that the metric has right and one that it has wrong, both turned."""

    def rows(setting, judge, triplets, attacks, *, own_choice):
        assert own_choice
        for triplet, choice in zip(triplets.items, (0, 0), strict=True):
            clean = {"image": triplet.name, "attack": "none", "eps": None}
            yield {**clean, "clean_prediction": choice}
            more = {"attacked": True, "prediction": 1 - choice, "clean_prediction": choice}
            yield {**clean, "attack": "pgd", "eps": 0.02, **more}

    monkeypatch.setattr(attacked, "judged_rows", rows)
    here = Path("nowhere.png")
    items = [Triplet(name, here, here, here, share=share) for name, share in (("a", 0), ("b", 1))]
    found = attacked.own_choice_scores(setting, None, Triplets(items, "made up"), (0.02,))
    assert found == {0.02: 50.0}  # under an attack on people's judgements it would be 0


def test_without_a_data_folder_pictures_are_those_that_come_with_percert(setting):
    here = replace(setting, data=None, weights=weights_file(setting))
    findings = made("lipsim-figure7", here)
    said = "2 photographs that come with percert, none of them ImageNet's"
    assert said in [stand.here for stand in findings.stands]
    assert (here.out / "lipsim-figure7" / "figure-1.png").is_file()
    triplets = made("lipsim-table2", here).stands[0].here
    assert triplets.startswith("2 triplets: photographs that come with percert under noise")
