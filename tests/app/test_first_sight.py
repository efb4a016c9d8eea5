"""What a newcomer sees: an example, an answer in words, one scale, names, and no server's paths."""

import math
import re

import pytest
from tests.app.conftest import png, wait_for

import percert.app.pages as examples
from percert.app.attack import attacks_offered
from percert.app.pages import attack_text, setting_fields
from percert.app.templates import scale_of
from percert.attacks import parse_attack
from percert.metrics.catalog import CATALOG, metric_card, typical_distances
from percert.reports.budgets import tampering, visibility, whole_pixels

HTMX = {"HX-Request": "true"}


def test_the_first_page_says_what_percert_is_and_offers_an_example(client):
    page = client.get("/").text
    assert "percert says how alike two images are, and proves" in page
    shown = client.post("/ui/compare/example", headers=HTMX).text
    assert "cat-reposted.jpg is a copy of cat.jpg" in shown
    assert "Proven: nobody can turn this round" in shown
    other = client.post("/ui/compare/strangers", headers=HTMX).text
    assert "coffee.jpg is not a copy of cat.jpg" in other
    assert "as far apart as unrelated photographs are" in other
    assert "cat-reposted.jpg is closer to cat.jpg than" in (
        client.post("/ui/judge/example", headers=HTMX).text
    )


def test_the_examples_are_small_and_say_whose_they_are():
    images = list(examples.FOLDER.glob("*.jpg"))
    assert len(images) == 3
    assert sum(image.stat().st_size for image in images) < 64 * 1024
    licence = (examples.FOLDER / "LICENSE.txt").read_text()
    assert all(image.name in licence for image in images)
    assert "CC0" in licence


def test_words_stand_before_numbers(client):
    shown = client.post("/ui/compare/example", headers=HTMX).text
    words = shown.index("closer than unrelated photographs usually are")
    assert words < shown.index("<details>") < shown.index("PSNR")


def test_where_nothing_is_proven_that_is_said(client):
    files = {"reference": ("a", png(level=90)), "candidate": ("b", png(level=200))}
    shown = client.post("/ui/compare", files=files, data={"metric": "thumbnail"}, headers=HTMX).text
    assert "Nothing is proven" in shown
    assert "Proven: nobody" not in shown


@pytest.mark.parametrize("name", ["lipsim-tiny", "thumbnail", "ssim"])
def test_the_scale_is_the_same_in_every_answer(client, name):
    def drawn(*seeds):
        files = {
            role: (role, png(seed=seed))
            for role, seed in zip(("reference", "candidate"), seeds, strict=True)
        }
        shown = client.post("/ui/compare", files=files, data={"metric": name}, headers=HTMX).text
        zones = re.findall(r'<rect class="(?:scale|copies|unrelated)"[^>]*>', shown)
        ends = re.search(r'class="scale-ends"[^>]*>(.*?)</div>', shown).group(1)
        (at,) = re.findall(r'<line class="distance" x1="([^"]+)"', shown)
        distance = float(re.search(r'id="distance">([^<]+)<', shown).group(1))
        return (zones, ends), float(at), distance

    first, one, near = drawn(1, 1)
    second, two, far = drawn(1, 2)
    assert first == second
    assert (one, near) == (0, 0)
    assert two == pytest.approx(1000 * math.sqrt(far / metric_card(name).range[1]), abs=0.06)


def test_every_metric_without_weights_of_ones_own_says_what_is_usual():
    for card in CATALOG.values():
        known = typical_distances(card.name)
        assert (known is not None) == (card.checkpoint in ("none", "optional")), card.name
        if known is not None:
            low, high = card.range
            assert low <= known.jpeg < known.unrelated_low <= known.unrelated <= high
            # A share of people ends at all of them, whichever two photographs these are.
            assert known.unrelated_low < known.unrelated or known.unrelated_low == high == 1
            assert known.unrelated <= known.unrelated_high <= high
            assert scale_of(card) is not None


@pytest.mark.parametrize("size", [(32, 32), (299, 299), (480, 640)])
def test_a_budget_in_words_holds(size):
    height, width = size
    for level in (0.5, 1, 4, 12, 60):
        length = level / 255 * math.sqrt(3 * height * width)
        pixels = whole_pixels(length, size)
        assert math.sqrt(3 * pixels) <= length * (1 + 1e-12)
        assert pixels == height * width or math.sqrt(3 * (pixels + 1)) > length
        assert visibility(length, size) in tampering(length, size)
    assert visibility(math.sqrt(3 * height * width) / 255, size) == "invisible"


@pytest.mark.parametrize("name", attacks_offered())
def test_the_fields_of_an_attack_are_its_settings(client, name):
    fields = setting_fields(name)
    assert attack_text(name, {f"set-{one.name}": one.default for one in fields}) == name
    page = client.get("/ui/attack/settings", params={"attack": name}).text
    for one in fields:
        assert f'name="set-{one.name}"' in page
        if one.kind == "integer":
            assert re.search(rf'name="set-{one.name}" min="0" max="100000"', page)
    chosen = {
        f"set-{one.name}": {"integer": "3", "number": "0.25"}.get(one.kind, one.default)
        for one in fields
    }
    _, made = parse_attack(attack_text(name, chosen))
    for one in fields:
        if one.kind in ("integer", "number"):
            assert getattr(made, one.name) == float(chosen[f"set-{one.name}"])


def test_classes_are_called_by_their_names(client):
    form = {"target": "bright", "set-step": "1.0"}
    files = {"image": ("a.png", png(level=90))}
    started = client.post("/ui/attack", files=files, data=form, headers=HTMX).text
    job = wait_for(client, re.search(r"/ui/jobs/([^/\"]+)/cancel", started).group(1))
    assert job["result"]["target"] == 1
    shown = client.get(f"/ui/jobs/{job['id']}", headers=HTMX).text
    assert "the model now says bright instead of dark" in shown
    wrong = client.post("/ui/attack", files=files, data={"target": "bight"}, headers=HTMX)
    assert (wrong.status_code, "did you mean &#39;bright&#39;?" in wrong.text) == (422, True)
    assert "<option>bright</option>" in client.get("/ui/attack/classes").text


def test_a_psnr_is_in_decibels_and_what_is_seen_is_counted(client):
    files = {"image": ("a.png", png(level=90))}
    job = client.post("/api/v1/attack", files=files, data={"attack": "ascent:step=1.0"}).json()
    result = wait_for(client, job["id"])["result"]
    distances = {one["metric"]: one["value"] for one in result["distances"]}
    height, width = result["resolution"]
    mse = distances["l2"] ** 2 / (3 * height * width)
    assert result["psnr"] == pytest.approx(-10 * math.log10(mse), rel=1e-5)
    # Grey 90 had to become brighter than 127 everywhere.
    assert re.fullmatch(
        r"About (9\d|100) of 100 people would notice, 8 would say so of an unchanged picture\.",
        result["observers"],
    )
    shown = client.get(f"/ui/jobs/{job['id']}", headers=HTMX).text
    assert f"{result['psnr']:.1f} dB" in shown
    assert result["observers"] in shown
    assert "Where it would be noticed." in shown


def test_a_running_job_says_how_long_it_may_take_and_is_found_again(client):
    form = {"model": "stubborn", "set-steps": "100000"}
    files = {"image": ("a.png", png(level=90))}
    started = client.post("/ui/attack", files=files, data=form, follow_redirects=False)
    address = started.headers["location"]
    page = client.get(address).text
    assert '<meta http-equiv="refresh"' in page
    assert "of at most 120 s" in page or "Waiting" in page
    plain = client.get(f"/api/v1/jobs/{address.rpartition('/')[2]}").json()
    assert plain["most_seconds"] == 120
    client.post(f"{address}/cancel")
    assert '<meta http-equiv="refresh"' not in client.get(address).text
