"""BAPPS's published layout."""

import numpy as np
import pytest
import torch

from percert.data.judgements import bapps_folders, bapps_triplets
from percert.data.triplets import load_triplet
from percert.images import save_image

SHARES = {"val/cnn": (0.2, 1.0), "val/traditional": (0.5,), "train/cnn": (0.0,)}


@pytest.fixture
def folder(tmp_path):
    for place, shares in SHARES.items():
        for i, share in enumerate(shares):
            for shade, part in enumerate(("ref", "p0", "p1")):
                inside = tmp_path / "2afc" / place / part
                inside.mkdir(parents=True, exist_ok=True)
                save_image(torch.full((3, 8, 8), shade / 4), inside / f"{i:06d}.png")
            judge = tmp_path / "2afc" / place / "judge"
            judge.mkdir(exist_ok=True)
            np.save(judge / f"{i:06d}.npy", np.array([share], dtype=np.float32))
    return tmp_path


def test_the_judges_share_for_p1_is_read(folder):
    found = list(bapps_triplets(folder, "val"))
    assert [triplet.name for triplet in found] == [
        *("val/cnn/000000", "val/cnn/000001", "val/traditional/000000")
    ]
    assert [triplet.share for triplet in found] == pytest.approx([0.2, 1.0, 0.5])
    assert [triplet.choice for triplet in found] == [0, 1, None]
    assert [triplet.group for triplet in found] == ["cnn", "cnn", "traditional"]
    reference, left, right = load_triplet(found[0])
    assert [image.mean().item() for image in (reference, left, right)] == pytest.approx(
        [0.0, 64 / 255, 128 / 255]
    )


@pytest.mark.parametrize("inside", ["", "2afc", "2afc/val", "2afc/val/cnn"])
def test_any_level_of_it_may_be_given(folder, inside):
    names = [triplet.name for triplet in bapps_triplets(folder / inside, "val")]
    assert names[:2] == ["val/cnn/000000", "val/cnn/000001"]
    assert len(bapps_folders(folder, "all")) == 3


def test_what_is_missing_is_named(folder, tmp_path):
    (folder / "2afc" / "val" / "cnn" / "p1" / "000001.png").unlink()
    with pytest.raises(ValueError, match="no image 000001"):
        list(bapps_triplets(folder, "val"))
    with pytest.raises(ValueError, match="expected BAPPS's"):
        list(bapps_triplets(tmp_path / "2afc" / "val" / "cnn" / "ref"))


@pytest.mark.parametrize("values", [np.array([2.0]), np.zeros(2), np.array([None])])
def test_a_judgement_that_is_none_is_refused(folder, values):
    judge = folder / "2afc" / "val" / "cnn" / "judge" / "000000.npy"
    np.save(judge, values, allow_pickle=True)
    with pytest.raises(ValueError, match=r"000000\.npy: "):
        list(bapps_triplets(folder, "val"))
