"""``percert compare``: the answer is that of percert.certify, and bad input is said in one line."""

import math
import re

import pytest
import torch

from percert import certify, create_metric
from percert.images import load_image, save_image
from percert.metrics.seen_study import coefficients

THUMBNAIL = ("--metric", "thumbnail")
KEYS = [
    *("candidate", "distance", "eps", "lower", "upper", "copy", "radius", "resolution", "plain"),
    *("threshold", "view", "view_distance"),
]
ANSWER = [
    *("metric", "reference", "threshold", "likeness", "views", "rule", "results", "bad"),
    "left_out",
]


@pytest.mark.parametrize("perturbed", ["candidate", "reference", "both"])
def test_the_json_is_what_the_certificates_say(files, percert_json, perturbed):
    reference, candidate = files / "cat.png", files / "inside" / "small.png"
    answer = percert_json(
        "compare",
        *(reference, candidate, *THUMBNAIL),
        *("--eps", 0.5, "--threshold", 0.3, "--perturbed", perturbed, "--device", "cpu"),
    )
    assert list(answer) == ANSWER
    assert answer["bad"] == []
    assert (answer["metric"], answer["reference"]) == ("thumbnail", str(reference))
    assert (answer["threshold"], answer["views"]) == (0.3, ["whole"])
    (result,) = answer["results"]
    assert list(result) == KEYS
    metric = create_metric("thumbnail", device="cpu")
    images = load_image(reference)[None], load_image(candidate)[None]
    interval = certify.distance(metric, *images, 0.5, perturbed=perturbed)
    copies = certify.copies(metric, *images, 0.3, perturbed=perturbed)
    assert result["candidate"] == str(candidate)
    assert result["eps"] == 0.5
    for key, expected in [
        ("distance", interval.distance),
        ("lower", interval.lower),
        ("upper", interval.upper),
        ("radius", copies.radius),
    ]:
        assert result[key] == pytest.approx(expected.item(), rel=1e-12)
    assert result["copy"] is True
    assert (result["threshold"], result["view"]) == (0.3, "whole")
    assert result["view_distance"] == result["distance"]
    assert result["lower"] <= result["distance"] <= result["upper"]
    assert result["resolution"] == ([48, 72] if perturbed == "reference" else [30, 44])


@pytest.mark.parametrize(
    ("eps", "length"),
    [
        ("36/255", lambda values: 36 / 255),
        ("l2:2", lambda values: 2.0),
        ("linf:8/255", lambda values: 8 / 255 * math.sqrt(values)),
        ("30dB", lambda values: math.sqrt(values) * 10**-1.5),
    ],
)
def test_eps_is_taken_in_the_measure_it_is_asked_for(files, percert_json, eps, length):
    candidates = files / "inside" / "small.png", files / "inside" / "noisy.png"
    answer = percert_json("compare", files / "cat.png", *candidates, *THUMBNAIL, "--eps", eps)
    for result in answer["results"]:
        height, width = result["resolution"]
        expected = length(3 * height * width)
        assert expected <= result["eps"] <= expected * (1 + 1e-14)


def test_the_default_eps_is_one_level_on_every_value_of_the_image_tampered_with(
    files, percert_json
):
    arguments = ("compare", files / "cat.png", files / "inside" / "small.png", *THUMBNAIL)
    large, small = math.sqrt(3 * 48 * 72) / 255, math.sqrt(3 * 30 * 44) / 255
    for perturbed, eps in [("candidate", small), ("reference", large), ("both", small)]:
        (result,) = percert_json(*arguments, "--perturbed", perturbed)["results"]
        assert result["eps"] == pytest.approx(eps)


def test_folders_are_searched_and_the_verdicts_are_right(files, percert_json):
    answer = percert_json("compare", files / "cat.png", files / "inside", *THUMBNAIL)
    verdicts = {result["candidate"]: result["copy"] for result in answer["results"]}
    inside = files / "inside"
    assert verdicts == {
        str(inside / "deeper" / "coffee.png"): False,
        str(inside / "noisy.png"): True,
        str(inside / "small.png"): True,
    }
    assert all(result["radius"] > 0 for result in answer["results"])


def test_an_image_is_at_exactly_zero_from_itself(files, percert_json):
    (result,) = percert_json("compare", files / "cat.png", files / "cat.png", *THUMBNAIL)["results"]
    assert (result["distance"], result["lower"], result["copy"]) == (0.0, 0.0, True)


def test_a_metric_without_a_bound_says_nothing_of_tampering(files, percert, percert_json):
    arguments = ("compare", files / "cat.png", files / "inside" / "noisy.png", "--metric", "ssim")
    (result,) = percert_json(*arguments)["results"]
    assert result["distance"] > 0
    unproven = ("lower", "upper", "copy", "radius")
    assert all(result[key] is None for key in unproven)
    assert "ssim has no proven bound" in percert(*arguments).stdout


def test_a_distance_in_shares_of_observers_is_said_in_people(
    files, percert, percert_json, tmp_path
):
    cat = load_image(files / "cat.png")
    save_image((cat + 0.3 * torch.rand(cat.shape)).clamp(0, 1), tmp_path / "noisy.png")
    asked = ("compare", files / "cat.png", tmp_path / "noisy.png", "--metric", "seen")
    (result,) = percert_json(*asked)["results"]
    share = 100 * coefficients().share(result["distance"])
    said = percert(*asked).stdout
    assert share > 20
    assert f"{share:.0f} of 100" in said
    assert f"About {share:.0f} of 100 people would notice, 8 would say so of an unchanged" in said
    said = percert(*asked, files / "cat.png").stdout
    assert [f"{share:.0f} of 100", "8 of 100"] == re.findall(r"\d+ of 100$", said, re.MULTILINE)
    assert "Of an unchanged picture 8 of 100 people would say so." in said


def test_two_sizes_are_an_error_of_that_candidate_for_a_metric_of_pixels(files, percert_json):
    answer = percert_json(
        "compare", files / "cat.png", files / "inside", "--metric", "ssim", exit_code=1
    )
    assert len(answer["results"]) == 2
    (bad,) = answer["bad"]
    assert bad["path"] == str(files / "inside" / "small.png")
    assert "30 x 44 pixels" in bad["reason"]
    assert "the reference has 48 x 72" in bad["reason"]


def test_the_others_are_compared_when_one_candidate_is_bad(files, percert):
    candidates = (files / "bad.png", files / "inside" / "noisy.png", files / "missing.png")
    result = percert("compare", files / "cat.png", *candidates, *THUMBNAIL, exit_code=1)
    assert "noisy.png is a copy of" in result.stdout
    first, *listed = result.stderr.splitlines()
    assert first == "percert: 2 of 3 candidates could not be compared:"
    assert [line.split(": ")[1].strip() for line in listed] == [
        str(files / "bad.png"),
        str(files / "missing.png"),
    ]


def test_bad_candidates_are_in_the_json_too(files, percert_json):
    candidates = (files / "bad.png", files / "inside" / "noisy.png")
    answer = percert_json("compare", files / "cat.png", *candidates, *THUMBNAIL, exit_code=1)
    assert list(answer) == ANSWER
    assert [result["candidate"] for result in answer["results"]] == [str(candidates[1])]
    (bad,) = answer["bad"]
    assert bad["path"] == str(files / "bad.png")
    assert bad["reason"].startswith("not an image")


@pytest.mark.parametrize("name", ["bad.png", "missing.png", "note.txt", "inside"])
def test_a_bad_reference_is_one_line(files, percert, name):
    result = percert("compare", files / name, files / "cat.png", *THUMBNAIL, exit_code=1)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"percert: error: {files / name}: ")


def test_a_folder_without_images_is_an_error(files, percert):
    result = percert("compare", files / "cat.png", files / "empty", *THUMBNAIL, exit_code=1)
    assert result.stderr == f"percert: error: {files / 'empty'}: no images found\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--eps", "-1"), "--eps"),
        (("--eps", "linf:x"), "--eps"),
        (("--eps", "l1:2"), "--eps"),
        (("--eps", "linf:30dB"), "--eps"),
        (("--eps", "nan"), "--eps"),
        (("--eps", "much"), "--eps"),
        (("--threshold", "3"), "--threshold"),
        (("--threshold", "inf"), "--threshold"),
        (("--metric", "thumbnial"), "'thumbnail'"),
        (("--metric", "ssim", "--threshold", "0.1"), "--threshold"),
        (("--perturbed", "all"), "--perturbed"),
        (("--colour",), "--colour"),
    ],
)
def test_misuse_exits_with_2(files, percert, options, said):
    result = percert("compare", files / "cat.png", files / "cat.png", *options, exit_code=2)
    assert said in result.stderr
    assert result.stdout == ""


def test_a_metric_that_needs_weights_asks_for_them(files, percert):
    arguments = ("compare", files / "cat.png", files / "cat.png", "--metric", "lipsim-small")
    (line,) = percert(*arguments, exit_code=1).stderr.splitlines()
    assert "needs" in line
    assert "checkpoint" in line


def test_the_sentences_say_what_is_proven(files, percert):
    arguments = ("compare", files / "cat.png", files / "inside" / "noisy.png", *THUMBNAIL)
    said = percert(*arguments, "--eps", "1.5", "--threshold", "usual").stdout
    noisy = files / "inside" / "noisy.png"
    assert f"{noisy} is a copy of {files / 'cat.png'}: distance 0.00" in said
    assert "<= 0.22 (thumbnail)." in said
    # 20 log10(sqrt(3 * 48 * 72) / 1.5) = 36.63 dB, and 255 * 1.5 / sqrt(3 * 48 * 72) = 3.757:
    # what is covered is said to the safe side.
    budget = f"for every change of {noisy} up to l2 1.5 (PSNR 36.7 dB, or 3.7/255 on every value)"
    assert f"Proven: {budget} the distance stays between" in said


def test_no_path_is_cut_off_or_folded_where_there_is_no_terminal(files, percert, tmp_path):
    from shutil import copy

    long = tmp_path / ("a" * 120) / ("b" * 120 + " [red].png")
    long.parent.mkdir()
    copy(files / "cat.png", long)
    said = percert("compare", files / "cat.png", long, files / "inside", *THUMBNAIL).stdout
    assert str(long) in said
    assert "2 of 4 are copies" not in said
    assert "3 of 4 are copies" in said


def test_control_characters_of_a_file_name_are_escaped(files, percert, tmp_path):
    from shutil import copy

    odd = tmp_path / "a\x1b[31m\nb.png"
    copy(files / "cat.png", odd)
    said = percert("compare", files / "cat.png", odd, *THUMBNAIL).stdout
    assert "\x1b" not in said
    assert r"a\x1b[31m\nb.png" in said


def test_the_bounds_shown_are_never_tighter_than_the_proven_ones(files, percert, percert_json):
    arguments = ("compare", files / "cat.png", files / "inside" / "noisy.png", *THUMBNAIL)
    (result,) = percert_json(*arguments)["results"]
    said = percert(*arguments).stdout
    bounds = said.split("the distance stays between ")[1].split(".\n")[0]
    lower, upper = bounds.split(" and ")
    assert float(lower) <= result["lower"]
    assert float(upper) >= result["upper"]
    radius = said.split("of less than l2 ")[1].split(" ")[0]
    assert 0.99 * result["radius"] < float(radius) <= result["radius"]


def test_edits_are_what_the_certificates_say(files, percert, percert_json):
    reference, candidate = files / "cat.png", files / "inside" / "small.png"
    arguments = ("compare", reference, candidate, *THUMBNAIL, "--threshold", 0.3, "--edits")
    (result,) = percert_json(*arguments)["results"]
    assert list(result) == [*KEYS, "edits"]
    edits = result["edits"]
    assert [one["edit"] for one in edits["ranges"]] == list(certify.EDITS)
    assert edits["late"] == []
    images = load_image(reference)[None], load_image(candidate)[None]
    metric = create_metric("thumbnail", device="cpu")
    for found in edits["ranges"]:
        if found["edit"] in ("gamma", "crop"):
            own = certify.edits(metric, *images, found["edit"], threshold=0.3)
            assert (found["low"], found["high"]) == (own.low, own.high)
    assert edits["shift"] >= 1
    shifts = certify.AllShifts(edits["shift"])
    assert certify.edits_everywhere(metric, *images, shifts, threshold=0.3).proven
    said = percert(*arguments).stdout.replace("\n", " ")
    assert "small.png stays a copy under any one of these edits: any brightness from" in said
    pixels = "a pixel" if edits["shift"] == 1 else f"{edits['shift']} pixels"
    assert f"any shift by up to {pixels} in each direction" in said


@pytest.mark.parametrize("more", [("--metric", "ssim"), (*THUMBNAIL, "--perturbed", "both")])
def test_edits_need_a_verdict_and_an_edited_candidate(files, percert, more):
    pair = files / "cat.png", files / "inside" / "noisy.png"
    result = percert("compare", *pair, *more, "--edits", exit_code=2)
    assert "--edits" in result.stderr
