"""The page that an attack ends in."""

import json
import re

import numpy as np
import pytest
import torch

from percert.evaluation.attack_runs.pages import where_noticed, write_attack_report
from percert.images import save_image
from percert.metrics.seen_study import NOTICED_WORDS, coefficients
from percert.reports import read_records, write_records, write_run


def a_run(folder, images, *, attacked=True, saved=True):
    rows = []
    for place in range(2):
        name = f"p{place}.png"
        original = torch.full((3, 12, 12), 0.25)
        save_image(original, images / name)
        moved = original + 0.25 * torch.eye(12)
        if saved:
            (folder / "pgd").mkdir(parents=True, exist_ok=True)
            save_image(moved, folder / "pgd" / name)
        rows.append(
            {
                "image": name,
                "attack": "pgd",
                "label": 0,
                "attacked": attacked,
                "success": attacked,
                "success_8bit": attacked,
                "l1": 9.0,
                "l2": 1.5,
                "linf": 0.25,
                "ssim": 0.125,
                "seconds": 0.5,
                "cpu_seconds": 0.5,
                "model_calls": 3.0,
                "file": f"pgd/{name}" if saved else "",
            }
        )
        if not saved:
            rows[-1].pop("file")
    kinds = {name: type(value) for name, value in rows[0].items()}
    write_records(folder / "records.parquet", rows, kinds)
    write_run(
        folder,
        command=["percert", "attack", "classify", "--out", "x"],
        seed=0,
        device="cpu",
        seconds=1.0,
        settings={"goal": "classifier", "images": str(images), "model": "<i>m"},
        finished=True,
    )
    return folder


@pytest.fixture
def places(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "out", tmp_path / "in"


def test_everything_is_on_one_page(places):
    text = write_attack_report(a_run(*places)).read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert text.count("<img") == 3  # the distribution, and both images
    assert "<i>m" not in text
    for words in ("100.0 % of 2", "1.5", "1-SSIM", "percert attack classify --out x"):
        assert words in text


def test_the_observers_are_in_words_beside_the_numbers(places):
    """Of two attacked images 0.2 and 0.4 of the observers notice, false alarms apart."""
    folder = a_run(*places)
    rows = read_records(folder / "records.parquet")
    for row, share in zip(rows, (0.2, 0.4), strict=True):
        row["seen"] = share
    write_records(
        folder / "records.parquet", rows, {name: type(value) for name, value in rows[0].items()}
    )
    record = json.loads((folder / "run.json").read_text())
    record["settings"]["metrics"] = ["ssim", "seen"]
    (folder / "run.json").write_text(json.dumps(record))
    text = write_attack_report(folder).read_text(encoding="utf-8")
    alarms = coefficients().false_alarms
    many = round(100 * (alarms + (1 - alarms) * 0.3))
    assert f"pgd: about {many} of 100 people would notice, 8 would say so of an unchanged" in text
    assert NOTICED_WORDS in text


def test_a_map_of_what_is_noticed_is_black_where_nothing_changed():
    image = np.full((40, 48, 3), 0.5, np.float32)
    changed = image.copy()
    changed[30:34, 40:44] = 0.9
    found = where_noticed(image, changed)
    assert found.shape == (40, 48)
    assert found[32, 42] == 1
    assert found[4, 4] < 0.05
    assert where_noticed(image[:8], changed[:8]).max() == 0  # too small to say


def test_without_pictures_there_are_tables(places):
    folder = a_run(*places, saved=False)
    assert write_attack_report(folder).read_text(encoding="utf-8").count("<img") == 1
    for path in places[1].iterdir():
        path.unlink()
    places[1].rmdir()
    assert write_attack_report(a_run_again(folder)).exists()


def a_run_again(folder):
    (folder / "report.html").unlink()
    return folder


def test_nothing_attacked_is_said(places):
    text = write_attack_report(a_run(*places, attacked=False)).read_text(encoding="utf-8")
    assert "none was tried" in text
    assert "To make it again" in text


def test_a_folder_without_records_is_one_error(tmp_path):
    with pytest.raises(ValueError, match="records"):
        write_attack_report(tmp_path)
