"""The engine ray on a local Ray of two workers: rows and answers equal to the local engine's."""

import os
import shutil
from collections import Counter

import pytest

from percert.search import open_store
from percert.search.ingest.sources import AddSettings

from .conftest import smooth_image
from .test_add import encoded_png
from .test_merging import alike

COLUMNS = ["id", "paths", "bytes", "height", "width", "h", "norm", "bound", "pixel_error"]


@pytest.fixture(scope="module")
def _ray(tmp_path_factory):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    pytest.importorskip("ray.data", reason="Ray Data is not installed")
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    # Ray's workers give way to everything else by default, tests of other processes too.
    os.environ.update(RAY_worker_niceness="0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.mark.usefixtures("_ray")
def test_ray_stores_the_rows_of_the_local_engine(tmp_path, weighted, photos):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    shutil.copy(photos / "1.png", photos / "copy.png")
    (photos / "text.png").write_text("not an image")
    rows = [encoded_png(seed) for seed in (100, 101, 100)] + [None]
    parquet.write_table(pa.table({"image": rows}), photos / "more.parquet", row_group_size=2)
    inputs = [photos, photos / "more.parquet", photos / "missing.png"]
    metric = weighted(0)
    local = open_store(tmp_path / "local", metric, views="whole,centre-80")
    there = open_store(tmp_path / "ray", metric, views="whole,centre-80")
    expected = local.add_files(inputs)
    outcomes = list(there.iter_ray_add(inputs, AddSettings(batch=4), workers=2, device="cpu"))
    assert Counter(one.what for one in outcomes) == Counter(one.what for one in expected)
    assert Counter(one.what for one in outcomes) == {"added": 10, "duplicate": 2, "bad": 3}
    # Of two equal images either may be the first: workers finish in any order.
    assert {(one.path, one.id, one.reason) for one in outcomes} == {
        (one.path, one.id, one.reason) for one in expected
    }
    mine, theirs = (store.rows(COLUMNS).sort_by("id") for store in (local, there))
    exact = [name for name in COLUMNS if name not in ("h", "norm")]
    assert mine.select(exact).equals(theirs.select(exact))
    # A network rounds otherwise in a batch of another size; the metric's feature error covers it.
    for name in ("h", "norm"):
        pairs = zip(mine[name].to_pylist(), theirs[name].to_pylist(), strict=True)
        for one, other in pairs:
            assert one == pytest.approx(other, rel=1e-5, abs=1e-6)
    assert there.verify(again=3).problems == []
    again = list(there.iter_ray_add(inputs, workers=2, device="cpu"))
    assert Counter(one.what for one in again) == {"unchanged": 12, "bad": 3}
    assert there.count == 10
    (photos / "2.png").rename(photos / "renamed.png")
    (photos / "more.parquet").rename(photos / "again.parquet")
    inputs[1] = photos / "again.parquet"
    for outcomes in (local.iter_add(inputs), there.iter_ray_add(inputs, device="cpu")):
        moved = [one for one in outcomes if one.what == "moved"]
        assert {(one.was, one.path) for one in moved} == {
            (str(photos / "2.png"), str(photos / "renamed.png")),
            *(
                tuple(f"parquet:{photos / name}.parquet#{row}" for name in ("more", "again"))
                for row in range(3)
            ),
        }
    held = [sorted(store.rows(["paths"])["paths"].to_pylist()) for store in (local, there)]
    assert held[0] == held[1]


def answers_of(store, images):
    """What is asked of a store, in words."""
    return [
        store.search(images, 3, 0.05),
        store.search(images[:1], 2),
        store.copies(images, 0.3, 0.05),
        store.copies(images, 0.3),
        store.duplicates(0.3),
    ]


@pytest.mark.usefixtures("_ray")
def test_ray_answers_what_the_store_does(tmp_path, weighted):
    import ray

    images = [smooth_image(seed, (20, 30)) for seed in range(24)]
    store = open_store(tmp_path / "store", weighted(0), views="whole,centre-80")
    store.add([*images, *(image * 0.9 for image in images[:6])], [f"{at}" for at in range(30)])
    asked = [images[3], images[9] * 0.95, smooth_image(99, (20, 30))]
    expected = answers_of(store, asked)
    assert len(expected[-1].links) >= 6
    with store.on_ray(workers=2, device="cpu") as there:
        engine = there._engine
        assert len(engine.workers) == 2
        for _ in range(3):  # read, turned, kept
            found = answers_of(there, asked)
            assert all(map(alike, found, expected))
        rows = [[(one.id, one.view, one.distance) for one in a.results] for a in found[0]]
        assert rows == [
            [(one.id, one.view, one.distance) for one in a.results] for a in expected[0]
        ]
        ray.kill(engine.workers[0], no_restart=False)  # as where its machine is lost
        assert alike(there.search(asked, 3, 0.05), expected[0])
        store.add([asked[2]], ["new"])
        assert there.search(asked[2:], 1)[0].results[0].id == "new"
        assert there.copies(asked[2:], 0.3)[0].results[0].id == "new"
        store.remove(["new"])
        assert alike(there.search(asked, 3, 0.05), expected[0])
    assert store._engine is not engine
    assert all(map(alike, answers_of(store, asked), expected))


@pytest.mark.usefixtures("_ray")
def test_a_store_smaller_than_its_workers_and_questions_that_are_none(tmp_path, metric):
    store = open_store(tmp_path / "store", metric)
    with store.on_ray(workers=2, device="cpu") as there:
        image = smooth_image(1)
        assert there.search([image])[0].results == ()
        assert there.copies([image], 0.3)[0].results == ()
        store.add([image], ["one"])
        (found,) = there.search([image], 5, 0.1)
        assert [one.id for one in found.results] == ["one"]
        assert found.radius_first == float("inf")
        assert there.duplicates(0.3).links == ()
        with pytest.raises(ValueError, match="k: expected at least 1"):
            there.search([image], 0)
