"""The engine ray on a local Ray of two workers: rows equal to the local engine's."""

import os
import shutil
from collections import Counter

import pytest

from percert.search import open_store
from percert.search.ingest.sources import AddSettings

from .test_add import encoded_png

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
