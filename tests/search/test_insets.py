"""Pictures inside a query: what they are copies of, at which rate, and what is proven of them."""

import dataclasses

import pytest
import torch

from percert.images.insets import Inset, find_insets
from percert.metrics.catalog import create_metric
from percert.search import open_store

from .conftest import smooth_image

pytest.importorskip("lancedb")

INSET = Inset(50, 30, 96, 80)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    metric = create_metric("lipsim-tiny", device="cpu")
    found = open_store(tmp_path_factory.mktemp("insets") / "store", metric, views="small")
    found.add([smooth_image(seed, (80, 96)) for seed in range(5)], [str(n) for n in range(5)])
    return found


@pytest.fixture(scope="module")
def screenshot():
    """The fourth stored picture, pasted onto another."""
    image = smooth_image(99, (160, 200))
    image[:, 30:110, 50:146] = smooth_image(3, (80, 96))
    return image


def test_a_stored_picture_inside_another_is_found_where_it_is(store, screenshot):
    whole, asked = store.copies([screenshot])[0], store.copies([screenshot], insets=True)[0]
    assert (whole.verdict, whole.insets) == ("nothing", None)
    assert asked.verdict == "found"
    assert asked.results == whole.results == ()
    (inside,) = [one for one in asked.insets if one.results]
    assert inside.inset == INSET
    assert [match.id for match in inside.results] == ["3"]
    assert inside.results[0].distance < 1e-3
    assert "insets" not in whole.to_json()
    told = asked.to_json()["insets"]
    assert dataclasses.asdict(INSET) in [one["inset"] for one in told]


def test_each_inset_is_answered_as_a_query_of_its_own(store, screenshot):
    other = smooth_image(3, (80, 96))
    rule = store.rule(insets=True)
    first, second = store.copies([screenshot, other], rule, 1.0, insets=True)
    for answer, image in ((first, screenshot), (second, other)):
        assert [one.inset for one in answer.insets] == list(find_insets(image))
        for one in answer.insets:
            (alone,) = store.copies([one.inset.cut(image)], rule, 1.0)
            assert one.results == alone.results


def test_the_rate_of_wrong_answers_is_that_of_all_pictures_asked(store):
    for wrong in (None, 1e-2, 1e-5):
        rate = 1e-3 if wrong is None else wrong
        rule, quarter = store.rule(wrong=wrong, insets=True), store.rule(wrong=rate / 4)
        assert rule.threshold == quarter.threshold < store.rule(wrong=wrong).threshold
        assert rule.wrong == pytest.approx(rate)
    own = store.rule(0.4), store.rule(0.4, insets=True)
    assert own[0].threshold == own[1].threshold == 0.4
    assert own[1].wrong == pytest.approx(4 * own[0].wrong)


def test_what_is_certain_of_an_inset_survives_the_strongest_tamper_of_it(store, screenshot):
    """Gradient ascent within eps on the whole query, while the same part of it is asked."""
    answer = store.copies([screenshot], eps=4.0, insets=True)[0]
    (inside,) = [one for one in answer.insets if one.results]
    match = inside.results[0]
    assert match.certain
    assert match.radius > 4.0
    stored, image = smooth_image(3, (80, 96)), screenshot.double()
    reach = 0.999 * match.radius
    delta = 1e-3 * torch.randn(
        image.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    for _ in range(15):
        delta.requires_grad_(True)
        part = inside.inset.cut((image + delta).clamp(0, 1))[None]
        far = store.metric(stored[None].double(), part)
        (slope,) = torch.autograd.grad(far.sum(), delta)
        delta = delta.detach() + reach / 3 * slope / slope.norm()
        delta *= min(1.0, reach / float(delta.norm()))
        assert far.item() <= match.threshold
    assert far.item() > 2 * match.distance


def test_several_queries_without_any_inset_are_asked_once(store):
    plain = [torch.full((3, 40, 40), 0.5), torch.linspace(0, 1, 60).expand(3, 50, 60)]
    for answer in store.copies(plain, insets=True):
        assert answer.insets == ()
        assert "insets" in answer.to_json()
