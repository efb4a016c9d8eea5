"""What lies at a path is found out, and read by the reader of its kind."""

import pytest
import torch

from percert.data.judgements import find_triplets
from percert.images import save_image


def test_a_csv_file_and_photographs_are_told_apart(tmp_path):
    for name in ("a", "b", "c"):
        save_image(torch.rand(3, 8, 8), tmp_path / f"{name}.png")
    table = tmp_path / "t.csv"
    table.write_text("reference,left,right,choice\na.png,b.png,c.png,right\n")
    (judged,) = find_triplets(table)
    assert (judged.choice, judged.left.name) == (1, "b.png")
    made = list(find_triplets(tmp_path, distortions=("blur",)))
    assert [one.name for one in made] == ["a.png#blur", "b.png#blur", "c.png#blur"]
    assert all(one.choice in (0, 1) for one in made)


def test_the_kind_and_the_place_are_checked(tmp_path):
    with pytest.raises(ValueError, match="kind: expected one of 'auto', 'night'"):
        find_triplets(tmp_path, "nights")
    with pytest.raises(ValueError, match="no such file or folder"):
        find_triplets(tmp_path / "missing")
    with pytest.raises(ValueError, match="split: expected one of"):
        list(find_triplets(tmp_path, "night", split=""))
