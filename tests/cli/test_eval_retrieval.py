"""``percert eval retrieval``: numbers, pictures and records of one run, and going on with it."""

import json

import numpy as np
import pytest
from PIL import Image

from percert.images import load_image
from percert.reports import read_records, read_run

pytest.importorskip("matplotlib", reason="needs the extra 'report'")
pytest.importorskip("jinja2", reason="needs the extra 'report'")

ATTACK = "pgd:norm=l2,eps=1.5,steps=4"
CHEAP = ("--metric", "thumbnail-8", "--device", "cpu", "--attack", ATTACK, "--queries", 3)


@pytest.fixture
def photos(tmp_path):
    for place in range(4):
        folder = tmp_path / "photos" / ("cats" if place < 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(place).integers(20, 236, (7, 7, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC)
        image.save(folder / f"{place}.png")
    return tmp_path / "photos"


def test_two_metrics_side_by_side(photos, percert, percert_json, tmp_path):
    out = tmp_path / "out"
    words = ("eval", "retrieval", photos, *CHEAP, "--against", "thumbnail-16", "--pictures", 2)
    answer = percert_json(*words, "--out", out)
    assert answer == json.loads((out / "retrieval.json").read_text())
    ours, other = answer["scores"]
    assert (ours["detector"], other["detector"]) == ("thumbnail-8", "thumbnail-16")
    for entry in answer["scores"]:
        assert entry["queries"] == 3
        assert 0 <= entry["certified"] <= entry["unchanged"] <= 1
        assert entry["eps"] == 1.5
        assert entry["same_class"] is not None
    rows = read_records(out / "records.parquet")
    assert len(rows) == 6
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "To make it again" in page
    for row in rows:
        moved = load_image(out / "attacked" / row["detector"] / row["image"])
        change = (moved - load_image(photos / row["image"])).norm().item()
        assert change == pytest.approx(row["l2_8bit"], abs=1e-4)
    assert read_run(out)["finished"] is True
    # The same command finds everything done, and says the same.
    (out / "attacked" / "thumbnail-8" / rows[0]["image"]).touch()
    assert percert_json(*words, "--out", out)["scores"] == answer["scores"]
    assert "give another --out" in percert(*words[:-4], "--out", out, exit_code=1).stderr


def test_labels_and_bad_files(photos, percert_json, tmp_path):
    (photos / "cats" / "bad.png").write_text("no image")
    names = [path.relative_to(photos).as_posix() for path in sorted(photos.rglob("[0-9].png"))]
    (tmp_path / "l.csv").write_text("image,label\n" + "".join(f"{name},5\n" for name in names))
    answer = percert_json(
        "eval", "retrieval", photos, *CHEAP, "--labels", tmp_path / "l.csv", "--pictures", 0,
        "--out", tmp_path / "out", exit_code=1,
    )  # fmt: skip
    assert answer["bad"][0]["path"] == "cats/bad.png"
    assert answer["scores"][0]["same_class"] == 1
    assert "Columns of" not in (tmp_path / "out" / "report.html").read_text()


def test_an_attack_that_cannot_move_embeddings_is_refused(photos, percert, tmp_path):
    result = percert(
        "eval", "retrieval", photos, "--attack", "fab", "--out", tmp_path / "out", exit_code=1
    )
    assert "not for embedding goals" in result.stderr
