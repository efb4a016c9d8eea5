"""Verification finds each kind of damage, and nothing where there is none."""

import datetime

import numpy as np
import pytest
import torch

from percert.images import save_image
from percert.search import open_store
from percert.search.tables.commit import commit, remove_left_behind
from percert.search.tables.schema import FileRow, ImageRow, files_table, images_table

from .conftest import smooth_image


@pytest.fixture
def store(tmp_path, metric, photos):
    opened = open_store(tmp_path / "store", metric)
    opened.add_files([photos])
    opened.add(torch.rand(1, 3, 9, 9), ["a tensor"])
    return opened


def stored_row(store, **changes):
    """The row of one image again, with something wrong."""
    (row,) = store.rows(["id", "bytes", "height", "width", "h", "bound", "pixel_error"])[
        :1
    ].to_pylist()
    row = {
        "id": row["id"],
        "bytes": row["bytes"],
        "size": (row["height"], row["width"]),
        "h": np.array(row["h"], np.float32)[None],
        "bound": np.array(row["bound"]),
        "pixel_error": np.array(row["pixel_error"]),
    }
    return ImageRow(**{**row, **changes})


def test_a_sound_store_is_called_sound(store):
    verdict = store.verify(again=100)
    assert verdict.sound
    assert (verdict.images, verdict.files, verdict.embedded) == (9, 8, 8)
    assert (verdict.tensors, verdict.without_file) == (1, 1)


def test_a_row_twice_is_found(store):
    row = stored_row(store)
    store.tables.images.add(images_table([row], store.tables.header))
    assert store.verify().problems == [f"image {row.id} is stored more than once"]


def test_a_file_without_its_image_is_found(store, photos):
    store.tables.files.add(files_table([FileRow("/gone.png", "0" * 64, 1, 1)]))
    store.tables.files.add(files_table([FileRow("/gone.png", "0" * 64, 1, 1)]))
    assert store.verify().problems == [
        "file /gone.png is stored more than once",
        "file /gone.png is stored, but not its image",
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bound": np.array([0.5])}, "has a bound that is not the one proven for its size"),
        ({"bound": np.array([-1.0])}, "has a bound that is not the one proven for its size"),
        ({"size": (21, 30)}, "has a bound that is not the one proven for its size"),
        ({"id": "not a hash"}, "is named by no SHA-256"),
        ({"h": np.full((1, 192), np.inf, np.float32)}, "has an embedding that is not finite"),
    ],
)
def test_a_wrong_row_is_found(store, change, problem):
    row = stored_row(store, **change)
    store.tables.images.delete(f"id = '{row.id}'")
    store.tables.images.add(images_table([row], store.tables.header))
    assert f"image {row.id} {problem}" in store.verify().problems


def test_a_norm_of_something_else_is_found(store):
    id = stored_row(store).id
    norm = [[2.0]]
    table = images_table([stored_row(store)], store.tables.header)
    import pyarrow as pa

    column = pa.FixedSizeListArray.from_arrays(
        pa.array(norm[0]), type=table.schema.field("norm").type
    )
    store.tables.images.delete(f"id = '{id}'")
    store.tables.images.add(table.set_column(5, table.schema.field("norm"), column))
    assert store.verify().problems == [f"image {id} has a norm that is not its embedding's"]


def test_an_embedding_of_another_image_is_found_by_embedding_again(store, photos):
    row = stored_row(store)
    other = stored_row(store, h=row.h * np.float32(1.001))
    store.tables.images.delete(f"id = '{row.id}'")
    store.tables.images.add(images_table([other], store.tables.header))
    assert store.verify().sound
    (problem,) = store.verify(again=100).problems
    assert problem.endswith("has another embedding than the one stored")


def test_of_many_problems_the_first_are_named_and_the_rest_counted(store):
    store.tables.files.add(files_table([FileRow(f"/gone/{n}", "0" * 64, 1, 1) for n in range(9)]))
    problems = store.verify().problems
    assert len(problems) == 6
    assert problems[-1].startswith("and 4 more: file ...")


def test_images_left_behind_by_a_killed_writer_are_adopted_or_removed(
    store, tmp_path, metric, monkeypatch
):
    save_image(smooth_image(70), tmp_path / "late.png")
    (outcome,) = store.add_files([tmp_path / "late.png"])
    store.tables.files.delete(f"id = '{outcome.id}'")  # as if killed between the two commits
    verdict = store.verify()
    assert verdict.sound
    assert verdict.without_file == 2
    # Too young to be taken for left behind: its writer may still be at work.
    assert remove_left_behind(store.tables) == 0
    (again,) = store.add_files([tmp_path / "late.png"])
    assert (again.what, again.id) == ("duplicate", outcome.id)
    store.tables.files.delete(f"id = '{outcome.id}'")
    monkeypatch.setattr("percert.search.tables.commit.LEFT_BEHIND", -datetime.timedelta(hours=1))
    assert remove_left_behind(store.tables) == 1
    assert store.count == 9  # images that were handed in as tensors stay


def test_committing_the_same_rows_again_changes_nothing(store):
    row = stored_row(store, h=np.zeros((1, 192), np.float32))
    before = store.rows(["id", "h"]).sort_by("id")
    assert commit(store.tables, [row, row], []) == set()
    assert store.rows(["id", "h"]).sort_by("id").equals(before)
