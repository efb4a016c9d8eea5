"""Compare, judge, and what the interface says of itself: the same as the functions below it."""

import itertools

import pytest
import torch
from tests.app.conftest import png

from percert.certify import copies, distance, twoafc
from percert.images.load import decode_image
from percert.metrics.catalog import create_metric

ONE, TWO, THREE = png(seed=1), png(seed=2), png(40, 24, seed=3)


@pytest.fixture(scope="module")
def metric():
    return create_metric("thumbnail", device="cpu")


def image(content):
    return decode_image(content, "image")[None]


def compare(client, reference=ONE, candidate=TWO, **form):
    files = {"reference": ("one.png", reference), "candidate": ("two.png", candidate)}
    return client.post("/api/v1/compare", files=files, data={"metric": "thumbnail", **form})


def test_compare_answers_what_the_certificates_say(client, metric):
    answer = compare(client, eps="0.5", threshold="0.3").json()
    interval = distance(metric, image(ONE), image(TWO), 0.5)
    verdict = copies(metric, image(ONE), image(TWO), 0.3)
    assert answer["distance"] == pytest.approx(interval.distance.item(), abs=1e-12)
    assert answer["lower"] == pytest.approx(interval.lower.item(), abs=1e-12)
    assert answer["upper"] == pytest.approx(interval.upper.item(), abs=1e-12)
    assert answer["copy"] is bool(verdict.decision.item())
    assert answer["radius"] == pytest.approx(verdict.radius.item(), abs=1e-12)
    assert answer["reference"], answer["candidate"] == ("one.png", "two.png")
    assert "two.png is not a copy of one.png" in answer["says"][0]


def test_the_intervals_of_the_slider_are_those_of_their_eps_and_only_widen(client, metric):
    answer = compare(client).json()
    rows = answer["intervals"]
    for row in rows[::10]:
        proven = distance(metric, image(ONE), image(TWO), row["eps"])
        assert row["lower"] == pytest.approx(proven.lower.item(), abs=1e-12)
        assert row["upper"] == pytest.approx(proven.upper.item(), abs=1e-12)
        assert float(row["shown_lower"]) <= row["lower"] <= row["upper"]
        assert float(row["shown_upper"]) >= row["upper"]
    for before, after in itertools.pairwise(rows):
        assert before["eps"] < after["eps"]
        assert after["lower"] <= before["lower"] <= before["upper"] <= after["upper"]
    assert rows[0]["eps"] == 0
    assert rows[-1]["eps"] >= answer["radius"]


def test_compare_goes_by_the_rule_of_an_index_and_names_it(client):
    usual = compare(client, metric="lipsim-tiny").json()
    assert usual["rule"]["wrong"] == 1e-3
    assert usual["rule"]["source"] == "shipped"
    assert usual["threshold"] == pytest.approx(
        usual["rule"]["threshold"] - usual["rule"]["weight"] * usual["likeness"]
    )
    assert any("1 in 1,000 is as near" in said for said in usual["says"])
    rare = compare(client, metric="lipsim-tiny", wrong="1e-6", views="standard").json()
    assert rare["rule"]["wrong"] == 1e-6
    assert rare["rule"]["threshold"] < usual["rule"]["threshold"]
    assert (len(rare["views"]), rare["view"] in rare["views"]) == (11, True)
    both = compare(client, metric="lipsim-tiny", wrong="1e-6", threshold="0.3")
    assert both.status_code == 422
    assert "views: expected one of the sets" in compare(client, views="no-such").text
    one = compare(client, metric="lipsim-tiny", threshold="0.3").json()
    assert (one["threshold"], one["rule"]["background"]) == (0.3, None)


@pytest.mark.parametrize("perturbed", ["candidate", "reference", "both"])
def test_compare_moves_the_image_that_it_is_told_to(client, metric, perturbed):
    answer = compare(client, candidate=THREE, eps="0.4", perturbed=perturbed).json()
    proven = distance(metric, image(ONE), image(THREE), 0.4, perturbed=perturbed)
    assert answer["upper"] == pytest.approx(proven.upper.item(), abs=1e-12)
    assert answer["resolution"] == ([24, 32] if perturbed == "reference" else [40, 24])


def test_a_metric_without_a_proof_gives_a_distance_and_nothing_else(client):
    answer = compare(client, metric="ssim").json()
    expected = create_metric("ssim", device="cpu")(image(ONE), image(TWO)).item()
    assert answer["distance"] == pytest.approx(expected, abs=1e-6)
    assert [answer[name] for name in ("lower", "upper", "copy", "radius")] == [None] * 4
    assert answer["intervals"] == []


def test_judge_answers_what_the_certificates_say_for_each_choice(client, metric):
    files = {
        name: (name, data)
        for name, data in zip(("reference", "left", "right"), (ONE, TWO, THREE), strict=True)
    }
    answer = client.post("/api/v1/judge", files=files, data={"metric": "thumbnail"}).json()
    for one in answer["standings"]:
        proven = twoafc(metric, image(ONE), image(TWO), image(THREE), perturbed=one["perturbed"])
        assert answer["closer"] == ("left", "right")[proven.decision.item()]
        assert one["radius"] == pytest.approx(proven.radius.item(), abs=1e-12)
    assert [one["perturbed"] for one in answer["standings"]] == ["reference", "candidates", "all"]
    assert answer["distance_left"] == pytest.approx(metric(image(ONE), image(TWO)).item())


def test_an_image_is_at_distance_0_from_itself_and_a_copy(client):
    answer = compare(client, candidate=ONE).json()
    assert answer["distance"] == 0
    assert answer["copy"] is True
    assert answer["radius"] > 0


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"eps": "-1"}, "eps: Input should be greater than or equal to 0"),
        ({"eps": "inf"}, "eps: Input should be "),
        ({"eps": "nan"}, "eps: Input should be "),
        ({"eps": "much"}, "eps: Input should be a valid number"),
        ({"threshold": "3"}, "threshold: Input should be less than or equal to 2"),
        ({"perturbed": "nobody"}, "perturbed: Input should be 'candidate', 'reference' or 'both'"),
        ({"metric": "ssmi"}, "did you mean 'ssim'?"),
        ({"metric": "lipsim-small"}, "start the server with --metric lipsim-small=FILE"),
        ({"metric": "ssim", "threshold": "0.1"}, "ssim has no proven bound"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_reason(client, form, reason):
    answer = compare(client, **form)
    assert answer.status_code == 422
    assert reason in answer.json()["reason"]


def test_images_of_two_sizes_are_refused_by_a_metric_of_one(client):
    answer = compare(client, candidate=THREE, metric="ssim")
    assert answer.status_code == 422
    assert "compares images of one size" in answer.json()["reason"]


def test_the_server_says_what_it_has(serve, resources):
    client = serve()
    about = client.get("/api/v1/about").json()
    names = [one["name"] for one in about["metrics"]]
    assert names[0] == "lipsim-tiny"
    assert "ssim" in names
    assert "lipsim-small" in about["absent"]
    assert about["models"] == ["brightness", "stubborn", "deaf"]
    assert "ascent" in [one["name"] for one in about["attacks"]]
    assert "foolbox" not in [one["name"] for one in about["attacks"]]
    assert about["store"] is None
    health = client.get("/api/v1/health").json()
    assert (health["status"], health["jobs"]) == ("ok", {})


def test_answers_leave_no_gradients_behind(client, resources):
    compare(client)
    assert torch.is_grad_enabled()
    assert not any(p.requires_grad for p in resources.metric("thumbnail").parameters())
