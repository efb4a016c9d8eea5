"""How far a candidate may be edited: the interface and the page say what the library proves."""

import pytest
import torch
from tests.app.conftest import png

from percert import certify, create_metric
from percert.app.resources import Limits
from percert.certify.editing.few_pixels import LocalChanges
from percert.certify.editing.ranges import EditRange
from percert.certify.editing.summary import EditSummary, bars, range_words, summary_words
from percert.images import load_image

ONE, TWO = png(seed=1, side=32), png(seed=2, side=32)
HTMX = {"HX-Request": "true"}


@pytest.fixture(scope="module")
def client(serving):
    """A server that has time for all families on a busy machine, too."""
    return serving(limits=Limits(answer_seconds=600.0))


def ask(client, address="/api/v1/compare/edits", candidate=ONE, headers=None, **form):
    files = {"reference": ("one.png", ONE), "candidate": ("two.png", candidate)}
    data = {"metric": "thumbnail", "threshold": "0.3", **form}
    return client.post(address, files=files, data=data, headers=headers)


def test_the_interface_answers_what_the_library_proves(client, tmp_path):
    answer = ask(client).json()
    assert (answer["copy"], answer["candidate"], answer["late"]) == (True, "two.png", [])
    (tmp_path / "one.png").write_bytes(ONE)
    image = load_image(tmp_path / "one.png")[None]
    metric = create_metric("thumbnail", device="cpu")
    found = certify.edits(metric, image, image, "brightness", threshold=0.3)
    shown = next(bar for bar in answer["bars"] if bar["name"] == "brightness")
    assert shown["text"] == range_words(found)
    assert shown["start"] <= shown["unchanged"] <= shown["end"]
    assert answer["says"][0].startswith(
        "Proven: two.png stays a copy under any one of these edits: any brightness from"
    )


def test_a_stranger_stays_none(client):
    answer = ask(client, candidate=TWO).json()
    assert answer["copy"] is False
    assert "stays no copy" in answer["says"][0]


def test_the_page_draws_a_bar_a_family(client):
    kept = ask(client, "/ui/compare", headers=HTMX)
    address = kept.text.split('data-address="')[1].split('"')[0]
    assert f'hx-get="{address}/edits"' in kept.text
    piece = client.get(f"{address}/edits", headers=HTMX).text
    assert piece.count('class="scale-bar edit"') == len(certify.EDITS)
    assert "<html" not in piece
    assert "<html" in client.get(f"{address}/edits").text


@pytest.mark.parametrize("form", [{"perturbed": "both"}, {"metric": "ssim", "threshold": ""}])
def test_what_cannot_be_proven_is_refused(client, form):
    assert ask(client, **form).status_code == 422


def ask_triplet(client, address="/api/v1/judge/edits", headers=None, **form):
    files = {
        "reference": ("one.png", ONE),
        "left": ("two.png", TWO),
        "right": ("same.png", ONE),
    }
    data = {"metric": "thumbnail", **form}
    return client.post(address, files=files, data=data, headers=headers)


def test_edits_of_the_reference_leave_the_closer_one_the_closer(client, tmp_path):
    answer = ask_triplet(client).json()
    assert (answer["closer"], answer["late"]) == ("right", [])
    assert answer["says"][0].startswith(
        "Proven: one.png stays closer to same.png under any one of these "
    )
    for name, data in (("one.png", ONE), ("two.png", TWO)):
        (tmp_path / name).write_bytes(data)
    one, two = (load_image(tmp_path / name)[None] for name in ("one.png", "two.png"))
    metric = create_metric("thumbnail", device="cpu")
    own = certify.edits_twoafc(metric, one, two, one, "gamma")
    shown = next(bar for bar in answer["bars"] if bar["name"] == "gamma")
    assert shown["text"] == range_words(own)
    assert ask_triplet(client, metric="mse").status_code == 422


def test_the_page_of_a_triplet_draws_the_same_bars(client):
    kept = ask_triplet(client, "/ui/judge", headers=HTMX)
    address = kept.text.split('data-address="')[1].split('"')[0]
    assert f'hx-get="{address}/edits"' in kept.text
    piece = client.get(f"{address}/edits", headers=HTMX).text
    assert "same.png stays the closer, whatever the edit within these bars" in piece
    assert f'data-address="{address}/edits"' in piece
    assert "<html" in client.get(f"{address}/edits").text


def found(edit, low, high):
    return EditRange(edit, 1, low, high, "answer", "answer", 0.0, True, 1, 1.0)


def test_words_round_inwards():
    assert range_words(found("brightness", 0.501, 2.009)) == "any brightness from 0.51 to 2 times"
    assert (
        range_words(found("rotation", -10.19, 10.19)) == "any rotation from -10.1 to 10.1 degrees"
    )
    assert range_words(found("crop", 0.8394, 1)) == "any centre crop that keeps 84 % of each side"
    assert range_words(found("brightness", 0.7, 1.4)) == "any brightness from 0.7 to 1.4 times"
    assert range_words(found("jpeg", 30, 100)) == "JPEG of any quality from 30 on"


def test_what_is_not_known_is_said():
    nothing = EditRange("gamma", 1, None, None, "answer", "answer", 0.0, True, 1, 1.0)
    none = LocalChanges(1, 0, 0, 0, 0.0)
    summary = EditSummary((nothing,), None, None, 1, none, True, True, ("all crops",), 1.0)
    assert bars(summary) == []
    assert summary_words(summary, "a.png", "stays a copy") == [
        "Of edits of a.png nothing is proven: too close a call, or too plain."
    ]
    local = LocalChanges(1, 1234, 40, 7, 9.0)
    blurred = found("blur", 0, 3.27)
    some = EditSummary((blurred,), 5, 0.9, 2, local, True, True, ("webp",), 1.0)
    assert summary_words(some, "a.png", "stays a copy") == [
        "Proven: a.png stays a copy under any one of these edits: any blur up to a sigma of 3.2 "
        "pixels, any shift by up to 5 pixels in each direction, any crop that keeps 90 % of each "
        "side, wherever it lies (margins that are multiples of 2 pixels), any change of up to "
        "1,234 pixels, anything in any one square of 40 x 40 pixels, any caption up to 7 pixels "
        "high; rounding to 8 bits included.",
        "Proven as well: under every change of less than 9 in l1.",
        "Exactly the same embedding, and so no change at all: its mirror image and any amount "
        "added to all of a channel (nothing clipped).",
        "Not known, for the time was over: webp.",
    ]
    assert Limits().answer_seconds / 2 >= 30
    assert torch.tensor(bars(some)[0].end).item() == pytest.approx(0.327)
