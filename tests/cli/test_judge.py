"""``percert judge``: the answer is that of percert.certify.twoafc."""

import pytest

from percert import certify, create_metric
from percert.images import load_image

KEYS = [
    "metric",
    "closer",
    "distance_left",
    "distance_right",
    "radius",
    "radius_paper",
    "perturbed",
]


@pytest.fixture
def triplet(files):
    return files / "cat.png", files / "inside" / "small.png", files / "inside/deeper/coffee.png"


@pytest.mark.parametrize("perturbed", ["reference", "candidates", "all"])
def test_the_json_is_what_the_certificate_says(triplet, percert_json, perturbed):
    answer = percert_json("judge", *triplet, "--metric", "thumbnail", "--perturbed", perturbed)
    assert list(answer) == KEYS
    metric = create_metric("thumbnail")
    images = [load_image(path)[None] for path in triplet]
    certificate = certify.twoafc(metric, *images, perturbed=perturbed)
    assert (answer["closer"], answer["perturbed"]) == ("left", perturbed)
    assert answer["radius"] == pytest.approx(certificate.radius.item(), rel=1e-12)
    assert 0 < answer["radius_paper"] <= answer["radius"]
    assert answer["distance_left"] == pytest.approx(metric(images[0], images[1]).item(), abs=1e-9)
    assert answer["distance_right"] == pytest.approx(metric(images[0], images[2]).item(), abs=1e-9)


def test_the_order_of_the_candidates_does_not_matter(triplet, percert_json):
    reference, near, far = triplet
    one = percert_json("judge", reference, near, far, "--metric", "thumbnail")
    other = percert_json("judge", reference, far, near, "--metric", "thumbnail")
    assert (one["closer"], other["closer"]) == ("left", "right")
    assert one["distance_left"] == other["distance_right"]
    assert one["radius"] == pytest.approx(other["radius"])


def test_a_tie_is_not_certified(triplet, percert, percert_json):
    reference, near, _ = triplet
    arguments = ("judge", reference, near, near, "--metric", "thumbnail")
    assert percert_json(*arguments)["radius"] == 0
    assert "too close" in percert(*arguments).stdout


def test_a_metric_without_a_bound_judges_without_a_radius(files, percert_json):
    paths = (files / "cat.png", files / "inside/deeper/coffee.png", files / "inside/noisy.png")
    answer = percert_json("judge", *paths, "--metric", "mse")
    assert answer["closer"] == "right"
    assert answer["distance_right"] < answer["distance_left"]
    assert answer["radius"] is answer["radius_paper"] is None


def test_the_sentences_say_who_is_closer_and_how_far_it_stands(triplet, percert):
    reference, near, far = triplet
    said = percert("judge", *triplet, "--metric", "thumbnail").stdout
    assert f"{near} is closer to {reference}: distance " in said
    assert f"Proven: this stands for every change of {reference} of less than l2 " in said
    swapped = percert("judge", reference, far, near, "--metric", "thumbnail").stdout
    assert f"{near} is closer to {reference}: distance " in swapped
    # Where images of several sizes move, one l2 length is several PSNRs.
    everything = percert("judge", *triplet, "--metric", "thumbnail", "--perturbed", "all").stdout
    assert "of the three images each of less than l2" in everything
    assert "PSNR" not in everything


def test_a_bad_image_is_one_line(files, triplet, percert):
    reference, near, _ = triplet
    result = percert("judge", reference, near, files / "bad.png", exit_code=1)
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"percert: error: {files / 'bad.png'}: not an image")
    assert result.stdout == ""


def test_two_sizes_are_an_error_for_a_metric_of_pixels(triplet, percert):
    (line,) = percert("judge", *triplet, "--metric", "ssim", exit_code=1).stderr.splitlines()
    assert line.startswith("percert: error: candidate: expected the reference's shape")


def test_a_missing_argument_is_misuse(triplet, percert):
    assert "RIGHT" in percert("judge", *triplet[:2], exit_code=2).stderr.upper()


def test_edits_are_what_the_certificates_say(triplet, percert, percert_json):
    reference, near, _ = triplet
    arguments = ("judge", *triplet, "--metric", "thumbnail", "--edits")
    answer = percert_json(*arguments)
    assert list(answer) == [*KEYS, "edits"]
    metric = create_metric("thumbnail", device="cpu")
    images = [load_image(path)[None] for path in triplet]
    ranges = {one["edit"]: one for one in answer["edits"]["ranges"]}
    assert list(ranges) == list(certify.EDITS)
    own = certify.edits_twoafc(metric, *images, "gamma")
    assert (ranges["gamma"]["low"], ranges["gamma"]["high"]) == (own.low, own.high)
    assert ranges["gamma"]["low"] < 1 < ranges["gamma"]["high"]
    said = percert(*arguments).stdout.replace("\n", " ")
    assert (
        f"{reference} stays closer to {near} under any one of these edits: any brightness from"
        in said
    )


@pytest.mark.parametrize("more", [("--metric", "mse"), ("--perturbed", "all")])
def test_edits_need_a_bound_and_an_edited_reference(triplet, percert, more):
    result = percert("judge", *triplet, *more, "--edits", exit_code=2)
    assert "--edits" in result.stderr
