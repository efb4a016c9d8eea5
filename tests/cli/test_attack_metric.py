"""``percert attack metric`` and ``percert attack list``."""

import json

import pytest
from tests.runs.folder import SIZES, fill, picture

from percert import create_metric
from percert.attacks import list_attacks, parse_attack
from percert.attacks.catalog import CATALOG
from percert.images import load_image, save_image
from percert.reports import read_records

pytest.importorskip("pyarrow", reason="needs the extra 'attacks'")


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path)
    save_image(0.5 * picture(0, SIZES[0]) + 0.25, tmp_path / "near.png")
    (tmp_path / "triplets.csv").write_text(
        "reference,left,right,choice\n"
        "p0.png,near.png,in side/p1.png,\n"
        "p0.png,in side/p1.png,near.png,1\n"
        "p0.png,near.png,in side/p1.png,right\n"
        "gone.png,near.png,near.png,0\n"
    )
    return tmp_path


def test_triplets_are_turned_round(folder, percert):
    said = percert(
        *("attack", "metric", "--metric", "thumbnail", "--triplets", folder / "triplets.csv"),
        *("--attack", "ascent:steps=200", "--out", folder / "out", "--device", "cpu"),
        exit_code=1,
    )
    assert "gone.png: no such file" in said.stderr
    first, second, wrong = read_records(folder / "out" / "records.parquet")
    metric = create_metric("thumbnail", device="cpu")
    for row, choice in ((first, 0), (second, 1)):
        assert (row["label"], row["clean_prediction"], row["prediction"]) == (
            *(choice, choice),
            1 - choice,
        )
        assert row["success_8bit"]
        file = load_image(folder / "out" / row["file"])[None]
        left, right = (
            metric(file, load_image(row[side])[None]).item() for side in ("left", "right")
        )
        assert (right < left) == (choice == 0)
    assert first["image"] == "p0.png"
    assert (wrong["label"], wrong["clean_prediction"], wrong["attacked"]) == (1, 0, False)


def test_embeddings_are_moved(folder, percert_json):
    answer = percert_json(
        *("attack", "metric", "--metric", "thumbnail", "--goal", "embedding", "--images", folder),
        *("--attack", "pgd:eps=0.5,steps=3", "--out", folder / "out", "--limit", 3),
        *("--device", "cpu"),
        exit_code=1,
    )
    (summary,) = answer["attacks"]
    rows = read_records(folder / "out" / "records.parquet")
    assert summary["attacked"] == len(rows) == 2
    assert summary["mean"]["moved"] == pytest.approx(sum(row["moved"] for row in rows) / 2)
    assert summary["mean"]["moved"] > 0
    assert answer["clean_accuracy"] is None


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--attack", "ascent"), 2, "triplets need a CSV file"),
        (("--attack", "ascent", "--goal", "embedding"), 1, "not for embedding goals"),
        (("--attack", "pgd", "--goal", "embedding"), 2, "embeddings need images"),
        (("--attack", "ascent", "--triplets", "no.csv"), 1, "no.csv: no such file"),
    ],
)
def test_what_does_not_fit_is_said(folder, percert, more, code, message):
    said = percert(
        "attack", "metric", "--metric", "thumbnail", "--out", folder / "out", *more, exit_code=code
    )
    assert message in said.stderr


def test_the_list_is_the_catalog_and_its_settings_can_be_given_back(percert, percert_json):
    listed = percert_json("attack", "list")["attacks"]
    assert [card["name"] for card in listed] == list_attacks()
    for card in listed:
        settings = {k: v for k, v in card["settings"].items() if v not in (None, "...")}
        missing = "..." in card["settings"].values()
        text = card["name"] + ":" + ",".join(f"{k}={v}" for k, v in settings.items())
        if not missing:
            _, attack = parse_attack(text)
            assert all(getattr(attack, key) == value for key, value in settings.items())
    said = percert("attack", "list").stdout
    assert all(card.name in said and card.summary in said for card in CATALOG.values())
    assert json.dumps(listed)


@pytest.mark.parametrize("verb", ["classify", "metric", "list"])
def test_every_verb_of_attack_has_help_with_an_example(percert, verb):
    said = percert("attack", verb, "--help").stdout
    assert "Examples" in said
    assert f"percert attack {verb}" in said
