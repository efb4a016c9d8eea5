"""What people see: the fit finds planted numbers, and the tables hold what was computed."""

import sys

import numpy as np
import pytest
import torch

pytest.importorskip("scipy", reason="the fits use scipy")
pytest.importorskip("pyarrow", reason="the runs keep records in parquet")

from experiments.people import agreement, attacks, attacks_page, attacks_report
from experiments.people.judge import JUDGE, JudgeFit
from experiments.people.seen import JudgedChanges, by_group, fit, predict, predict_held_out
from percert.metrics.seen_study import Coefficients

PLANTED = Coefficients(false_alarms=0.1, half=0.4, slope=2.0, mdsi_weight=5.0)


def simulated(pictures=200, observers=400):
    """Pictures unchanged and changed twice, of which observers say what the planted numbers say."""
    rng = np.random.default_rng(0)
    count = 3 * pictures
    changed = np.arange(count) % 3 > 0
    visibility = np.where(changed, np.exp(rng.normal(-1, 1, count)), 0)
    deviation = np.where(changed, 0.05 * np.exp(rng.normal(0, 1, count)), 0)
    asked = np.full(count, float(observers))
    picture = [str(i // 3) for i in range(count)]
    group = [("none", "bim", "masked")[i % 3] for i in range(count)]
    study = JudgedChanges(
        visibility, deviation, deviation**0.25, visibility, asked, asked, picture, group
    )
    said = rng.binomial(observers, predict(study, PLANTED)).astype(float)
    return JudgedChanges(
        visibility, deviation, deviation**0.25, visibility, said, asked, picture, group
    )


def test_the_fit_finds_the_numbers_that_were_planted():
    found = fit(simulated())
    assert found.false_alarms == pytest.approx(0.1, abs=0.005)
    assert found.half == pytest.approx(0.4, rel=0.05)
    assert found.slope == pytest.approx(2.0, rel=0.05)
    assert found.mdsi_weight == pytest.approx(5.0, rel=0.15)


def test_a_held_out_picture_does_not_enter_its_own_prediction():
    study = simulated(20, 35)
    before = predict_held_out(study, 5)
    altered = JudgedChanges(
        *(study.visibility, study.deviation, study.mdsi, study.l2),
        *(study.said.copy(), study.observers, study.picture, study.group),
    )
    altered.said[:3] = 35 - altered.said[:3]  # all that was said of the first picture
    after = predict_held_out(altered, 5)
    assert after[:3] == pytest.approx(before[:3])
    assert np.abs(after - before).max() > 1e-4  # others were fitted with it


def test_groups_are_compared_at_equal_energy_too():
    study = simulated(40, 35)
    bim, masked = by_group(study, study.share)
    assert (bim["group"], masked["group"]) == ("bim", "masked")
    assert bim["all"]["pairs"] == masked["all"]["pairs"] == 40
    assert bim["all"]["said"] == bim["all"]["predicted"]
    assert bim["at_equal_energy"]["pairs"] + masked["at_equal_energy"]["pairs"] == 40


def attacked(attack, image, mdsi, distance, won=True):
    return {
        "attack": attack,
        "image": image,
        "attacked": True,
        "success_8bit": won,
        "l2": 2 * mdsi,
        "mdsi": mdsi,
        "ssim": mdsi**2,
        "seen": mdsi / 10,
        JUDGE: distance,
        "cpu_seconds": 1.5,
    }


def test_attacks_are_numbered_beside_the_baseline_and_ours_beside_each():
    judge = JudgeFit(false_alarms=0.1, half=0.5, slope=1.0)
    rows = [attacked("ascent", "a", 0.4, 0.5), attacked("ascent", "b", 0.8, 0.5)]
    rows += [attacked("ssim-sqp", "a", 0.1, 0.5), attacked("ssim-sqp", "b", 0.6, 0.0)]
    rows += [attacked("ssim-sqp", "c", 9, 9, False)]
    baseline, ours = attacks_report.numbers(rows, judge)
    assert (ours["images"], ours["success_8bit"]) == (3, pytest.approx(2 / 3))
    assert ours["l2"] == pytest.approx(0.7)
    # Half of those who are left notice the first, nobody the second.
    assert ours["noticed"]["value"] == pytest.approx((0.45 + 0) / 2)
    assert ours["seen"]["value"] == pytest.approx(0.035)
    beside = ours["beside_baseline"]
    assert beside["mdsi"]["ratio of means"]["value"] == pytest.approx(0.7 / 1.2)
    assert beside["mdsi"]["mean of ratios"]["value"] == pytest.approx((0.25 + 0.75) / 2)
    assert beside["mdsi"]["median"]["value"] == pytest.approx(0.5)
    assert beside["mdsi"]["largest"]["value"] == pytest.approx(0.75)
    assert beside["ssim"]["ratio of means"]["value"] == pytest.approx(0.37 / 0.8)
    over = baseline["ours_over_it"]
    assert over["judge"]["value"] == pytest.approx(0.5)  # (.45 + 0) over (.45 + .45)
    assert over["seen"]["value"] == pytest.approx(0.07 / 0.12)
    assert over["seen_by_some"]
    page = attacks_page.page({"runs": {"m-plain": [baseline, ours]}})
    assert "| m-plain | 3 | 67 % | 23 % (0 to 45) | 0.50 |" in page
    assert "| m-plain | `ssim-sqp` | 2 | MDSI | 0.58 (0.25 to 0.75) | 0.50 (" in page
    assert "| m-plain | 45 % | 23 % (of 67 %) |" in page
    words = " ".join(page.split())
    assert "3 photographs a setting, `ssim-sqp` succeeds on all in 0 of 1 settings, and" in words
    assert "and on 67 % in m-plain." in words
    assert "in 1 of 1 comparisons (1 of 1 without LPA, PPGD" in words
    assert "by fewer in 0 more, and by more in 0." in words
    assert "Its MDSI is at 0.58 to 0.58 of the baseline's: the aim of a half is missed." in words


def test_what_neither_attack_shows_is_put_in_brackets():
    judge = JudgeFit(false_alarms=0.1, half=0.5, slope=1.0)
    rows = [attacked("ascent", "a", 0.4, 1e-4), attacked("ssim-sqp", "a", 0.4, 5e-5)]
    page = attacks_page.page({"runs": {"m-plain": attacks_report.numbers(rows, judge)}})
    assert "[0.50]" in page
    words = " ".join(page.split())
    assert "fewer than one in a hundred in 1 of 1 settings, by 0.009 % at most." in words


def test_the_rivals_that_ours_is_noticed_more_than_are_named_first():
    judge = JudgeFit(false_alarms=0.1, half=0.5, slope=1.0)
    rows = [attacked("fmn:steps=40", "a", 0.4, 0.2), attacked("ssim-sqp", "a", 0.4, 0.5)]
    entries = attacks_report.numbers(rows, judge)
    page = attacks_page.page({"runs": {"m-far": entries}})
    assert "and by more in 1: than `fmn:steps=40` (m-far, 1.75)." in " ".join(page.split())


def test_where_the_aim_is_missed_is_said_beside_what_is_proven():
    judge = JudgeFit(false_alarms=0.1, half=0.5, slope=1.0)
    rows = [attacked("fmn:steps=40", "a", 0.4, 0.6), attacked("ssim-sqp", "a", 0.5, 0.4)]
    rows += [attacked("lpa", "a", 4.0, 9.0), attacked("ddn:steps=40", "a", 4.0, 9.0, False)]
    rows += [attacked("ssim-sqp:cost=seen", "a", 0.5, 0.5)]
    entries = attacks_report.numbers(rows, judge)
    page = attacks_page.page({"runs": {"lipsim-tiny-own-copies": entries, "m-far": entries}})
    words = " ".join(page.split())
    assert "Missed is the aim in m-far beside `fmn:steps=40` (0.81)." in words
    assert "proven" not in words
    assert "noticed by fewer than `cost=seen` in 2 of 2 settings" in words
    found = {"runs": {"lipsim-tiny-own-copies": entries}, "proven_l2": [0.3, 0.5]}
    words = " ".join(attacks_page.page(found).split())
    assert "no change shorter than 0.4 (l2, a mean) does it, and the shortest of any" in words
    assert "of any attack has 0.8." in words


def test_the_proven_lengths_are_those_of_the_photographs_that_were_attacked(tmp_path):
    import argparse

    from percert import certify, create_metric
    from percert.images import load_image, save_image
    from percert.reports.records import write_records

    images = tmp_path / "imagenet-compatible" / "images"
    images.mkdir(parents=True)
    for at in range(3):
        torch.manual_seed(at)
        coarse = torch.rand(1, 3, 6, 6)
        save_image(torch.nn.functional.interpolate(coarse, size=(64, 64))[0], images / f"{at}.png")
    rows = [{"image": f"{at}.png", "attack": name} for name in ("lpa", "ppgd") for at in (0, 1)]
    runs = tmp_path / "runs"
    folder = runs / "lipsim-tiny-own-copies"
    folder.mkdir(parents=True)
    write_records(folder / "records.parquet", rows, {"image": str, "attack": str})
    found = attacks.proven_lengths(argparse.Namespace(data=tmp_path, runs=runs))
    assert len(found) == 2
    copies = [load_image(runs / "copies" / edit / "1.png")[None] for edit in attacks.COPIES]
    photograph = load_image(images / "1.png")[None]
    one = certify.twoafc(create_metric("lipsim-tiny", device="cpu"), photograph, *copies)
    assert found[1] == pytest.approx(one.radius.item())


def test_the_logits_of_the_worst_version_are_taken_with_what_is_demanded():
    from experiments.people.alma import worst_logits
    from percert.attacks import Untargeted, surviving

    goal = surviving(Untargeted(torch.tensor([0, 0]), confidence=1.0), "bits-4")
    plain = torch.tensor([[2.0, 5.0, 0.0], [2.0, 5.0, 0.0]])
    behind = torch.tensor([[4.0, 4.5, 0.0], [1.0, 9.0, 0.0]])
    scores = torch.cat([plain, behind], 1)
    found = worst_logits(goal, scores)
    assert found.tolist() == [[5.0, 4.5, 0.0], [3.0, 5.0, 0.0]]
    # The label is ahead exactly where the goal is not reached.
    assert ((found.argmax(1) != 0) == (goal.margin(scores) > 0)).all()


def test_each_photograph_stands_beside_two_copies_of_it(tmp_path):
    from percert.images import load_image, save_image

    (tmp_path / "images").mkdir()
    picture = torch.linspace(0, 1, 50).expand(3, 40, 50)
    save_image(picture, tmp_path / "images" / "one.png")
    (item,) = attacks.with_copies(tmp_path / "images", tmp_path / "copies", 5)
    assert item.label == 0
    original, near, far = (load_image(path) for path in (item.source, *item.others))
    assert near.shape == far.shape == original.shape
    assert far.std() < 0.8 * original.std() < near.std()  # contrast 0.7 beside JPEG 70


def test_alma_needs_nothing_that_its_package_imports_for_others(tmp_path, monkeypatch):
    from experiments.people import alma

    package = tmp_path / "adv_lib" / "attacks"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text("import visdom\nfrom torchvision import models\n")
    (package / "augmented_lagrangian.py").write_text("def alma(model, images, labels): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("visdom", "torchvision"):
        monkeypatch.setitem(sys.modules, name, None)  # as where it cannot be imported
    for name in [name for name in sys.modules if name.partition(".")[0] == "adv_lib"]:
        monkeypatch.delitem(sys.modules, name)
    alma._alma.cache_clear()
    assert alma._alma().__name__ == "alma"
    assert not {"visdom", "torchvision"} & set(sys.modules)
    alma._alma.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "adv_lib"]:
        del sys.modules[name]


def test_the_least_likely_class_becomes_the_target_and_is_kept(tmp_path):
    from percert.images import save_image
    from percert.runs import find_items

    save_image(torch.full((3, 8, 8), 0.2), tmp_path / "dark.png")
    save_image(torch.full((3, 8, 8), 0.9), tmp_path / "light.png")

    class Bright(torch.nn.Module):
        def forward(self, images):
            mean = images.mean((1, 2, 3))
            return torch.stack([mean, 1 - mean, torch.full_like(mean, 2.0)], 1)

    items = find_items(tmp_path)
    found = attacks.least_likely(Bright(), items, tmp_path / "kept.json")
    assert [item.target for item in found] == [0, 1]
    again = attacks.least_likely(None, items, tmp_path / "kept.json")  # nothing is asked again
    assert [item.target for item in again] == [0, 1]


def test_a_metric_that_knows_more_is_told_from_one_that_knows_nothing():
    from experiments.people import beside_seen

    rng = np.random.default_rng(1)
    true, poor = rng.normal(0, 1, 120), rng.normal(0, 1, 120)
    said = rng.binomial(40, 1 / (1 + np.exp(-2 * true))).astype(float)
    logs = {"seen": true + rng.normal(0, 2, 120), "better": true, "nothing": poor}
    pictures = [str(i // 2) for i in range(120)]
    answers = beside_seen.ChangeAnswers(said, np.full(120, 40.0), pictures, logs, 0.0)
    alone, better, worse = (
        beside_seen.judged(answers, ["seen", *more])["spearman"]
        for more in ([], ["better"], ["nothing"])
    )
    assert better > alone + 0.2
    assert abs(worse - alone) < 0.03


def test_the_table_of_agreement_has_each_number_under_its_heading():
    def one(metric, scope, value):
        kinds = ("Spearman", "Kendall", "RMSE")
        found = {
            kind: {"value": value + i / 100, "low": value - 0.01, "high": value + 0.05}
            for i, kind in enumerate(kinds)
        }
        counts = {"answers": 8, "pictures": 4}
        return {"metric": metric, "scope": scope, **counts, "found": found}

    studies = {
        study: {
            "kind": "noticed" if study == "adversarials" else "triplets",
            "agreement": [
                one(name, scope, value)
                for scope in scopes
                for name, value in (("x", 0.2), ("y", 0.6))
            ],
            "ceilings": [{"statistic": "2AFC", "scope": "all", "value": 0.84}],
        }
        for study, (_, scopes) in agreement.STUDIES.items()
    }
    page = agreement.report({"studies": studies, "certified": []})
    assert "Pairs that differ: 8 pairs of 4 pictures" in page
    assert "All: 8 triplets of 4 pictures" in page
    assert "| metric | Spearman | Kendall |\n| --- | ---: | ---: |\n| `y` | 0.600 (0.590 to" in page
    assert "0.610 (0.590 to 0.650) |\n| `x` | 0.200 (0.190 to 0.250) | 0.210" in page
    assert "leaves 0.840 to be reached of 2AFC" in page
    assert "RMSE" not in page


def test_every_metric_of_the_table_is_to_be_had_without_a_download():
    names = agreement.metrics_to_be_had()
    assert {"seen", "mdsi", "features", "lipsim-tiny"} <= set(names)
    assert not {"lpips-alex", "dreamsim", "lipsim-small", "sscd"} & set(names)


def test_votes_are_certified_as_the_metric_itself_certifies_them(tmp_path):
    from experiments.people.certified import EPS, certified_votes, votes_table
    from percert import certify, create_metric
    from percert.data.triplets import Triplet
    from percert.images import load_image, save_image

    pictures = []
    for at in range(9):
        image = np.random.default_rng(at).random((3, 24, 30), dtype=np.float32)
        save_image(torch.from_numpy(image), tmp_path / f"{at}.png")
        pictures.append(tmp_path / f"{at}.png")
    shares = (0.1, 0.75, 1.0)
    votes = [
        Triplet(f"t{i}", *pictures[3 * i : 3 * i + 3], share) for i, share in enumerate(shares)
    ]
    models = {"mine": "thumbnail-8", "other": "thumbnail-16"}
    found = certified_votes(votes, models, "drawn", tmp_path / "runs")
    assert [row["model"] for row in found] == ["mine", "other"]
    for row, name in zip(found, models.values(), strict=True):
        metric = create_metric(name, device="cpu")
        natural, certified = 0.0, np.zeros(len(EPS))
        for vote in votes:
            images = [load_image(path)[None] for path in (vote.reference, vote.left, vote.right)]
            one = certify.twoafc(metric, *images)
            agree = vote.share if one.decision.item() else 1 - vote.share
            natural += agree / len(votes)
            # An answer that may turn counts for the smaller share of the votes.
            held = np.where(one.radius.item() > np.array(EPS), agree, min(agree, 1 - agree))
            certified += held / len(votes)
        assert row["natural"] == pytest.approx(natural)
        assert [one["ours"] for one in row["certified"]] == pytest.approx(list(certified))
    assert found[0]["certified"][0]["ours"] > found[0]["certified"][-1]["ours"]
    lines = votes_table(found).markdown().strip().split("\n")
    assert lines[0].split(" | ")[2:4] == ["certified 36/255", "certified 72/255"]
    best = max(found, key=lambda row: row["natural"])
    cells = lines[2].strip("| ").split(" | ")
    assert cells[:2] == [f"`{best['model']}`", f"{100 * best['natural']:.2f}"]
    assert cells[2].startswith(f"{100 * best['certified'][0]['ours']:.2f}")
