"""Finding images: folders, parquet files, and names that must not lead out of the output."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.runs.folder import fill

from percert.images import ImageError, load_image
from percert.runs import find_items, read_sample
from percert.runs.items import output_name, read_triplets


def test_a_folder_gives_its_images_by_path_and_a_file_itself(tmp_path: Path) -> None:
    fill(tmp_path)
    names = [item.name for item in find_items(tmp_path)]
    assert names == [
        "bad.png",
        *(f"in side/p{i}.png" for i in (1, 3, 5)),
        "p0.png",
        "p2.png",
        "p4.png",
    ]
    (alone,) = find_items(tmp_path / "p0.png")
    assert alone.name == "p0.png"
    assert torch.equal(read_sample(alone).image, load_image(tmp_path / "p0.png"))


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no images found"):
        find_items(tmp_path)


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(path: Path, **columns: list[object]) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra 'attacks'")
    from pyarrow import parquet as files

    files.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def test_a_parquet_file_gives_images_names_and_labels(tmp_path: Path) -> None:
    """Three row groups, read out of order."""
    rows = [{"bytes": png(40 * i), "path": f"{i}.png"} for i in range(5)]
    items = find_items(parquet(tmp_path / "a.parquet", image=rows, label=[3, 1, 4, 1, 5]))
    assert [(item.name, item.label) for item in items] == list(
        zip([f"{i}.png" for i in range(5)], [3, 1, 4, 1, 5], strict=True)
    )
    for i in (4, 0, 3):
        image = read_sample(items[i]).image
        assert image.shape == (3, 4, 5)
        assert image[0, 0, 0].item() == pytest.approx(40 * i / 255)


def test_parquet_rows_without_names_are_numbered_and_bad_ones_named(tmp_path: Path) -> None:
    rows = [{"bytes": png(1)}, {"bytes": b"no image"}, {"bytes": None}]
    items = find_items(parquet(tmp_path / "a.parquet", image=rows))
    assert [item.name for item in items] == ["000000", "000001", "000002"]
    for item, message in zip(items[1:], ("000001: not an image", "000002: no bytes"), strict=True):
        with pytest.raises(ImageError, match=message):
            read_sample(item)


def test_a_parquet_file_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a column image, found label"):
        find_items(parquet(tmp_path / "a.parquet", label=[1]))
    (tmp_path / "b.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match=r"b\.parquet: not a parquet file"):
        find_items(tmp_path / "b.parquet")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..", "C:\\x", "a\\..\\x", ""])
def test_no_name_leads_out_of_the_output(tmp_path: Path, name: str) -> None:
    path = (tmp_path / output_name(name)).resolve()
    assert path.is_relative_to(tmp_path.resolve())
    assert path != tmp_path.resolve()


def test_names_that_differ_stay_apart() -> None:
    names = ("a.png", "a.jpg", "a.jpeg", "b/a.png", "a.png#2", "000001")
    assert len({output_name(name) for name in names}) == len(names)


def test_triplets_name_three_images_and_perhaps_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("ref_path,left,right,choice\nr.png,a.png,b.png,right\nr.png,b.png,a.png,\n")
    first, second = read_triplets(path)
    assert (first.name, second.name) == ("r.png", "r.png#2")
    assert first.others == (tmp_path / "a.png", tmp_path / "b.png")
    assert (first.label, second.label) == (1, None)
    (tmp_path / "other").mkdir()
    assert read_triplets(path, tmp_path / "other")[0].source == tmp_path / "other" / "r.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reference,left\na,b\n", "expected a column right"),
        ("reference,left,right\na,,c\n", "row 1 does not name three images"),
        ("reference,left,right,choice\na,b,c,2\n", "expected a choice of left, right or 0 to 1"),
    ],
)
def test_triplets_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_triplets(tmp_path / "t.csv")
