"""Ray: the rows are those of one process. Starts a Ray of two workers on this machine."""

import pytest
from tests.models.tiny_factory import linear
from tests.runs.folder import fill

from percert.attacks import create_attack
from percert.metrics.catalog import create_metric
from percert.runs import AttackPlan, ClassifierTask, RecordedMetric, attack_items, find_items
from percert.runs.ray_cluster import attack_items_on_ray

pytest.importorskip("ray", reason="needs the extra 'ray'")

TIMES = ("seconds", "cpu_seconds", "model_calls")


def test_two_workers_give_the_rows_and_images_of_one_process(tmp_path):
    fill(tmp_path)
    attacks = {"pgd": create_attack("pgd", eps=0.5, steps=3), "ascent": create_attack("ascent")}
    plan = AttackPlan(
        attacks=attacks,
        measures={"ssim": RecordedMetric(create_metric("ssim", device="cpu"), 11)},
        batch_size=2,
    )
    task, items = ClassifierTask(linear()), find_items(tmp_path)
    done = {("p0.png", "ascent"), ("p2.png", "ascent"), ("p2.png", "pgd")}
    here = list(attack_items(task, plan, items, done))
    there = list(attack_items_on_ray(task, plan, items, done, workers=2))
    assert [found.bad for found in there if found.bad] == ["bad.png"]
    rows, images = keyed(here)
    rows_there, images_there = keyed(there)
    assert len(rows) == 9
    assert rows_there.keys() == rows.keys()
    for key, row in rows.items():
        for name, value in row.items():
            if name not in TIMES:
                # Processes may have other numbers of threads, and so other roundings.
                expected = pytest.approx(value, rel=1e-3) if isinstance(value, float) else value
                assert rows_there[key][name] == expected, name
        assert (images_there[key] - images[key]).abs().max() < 1e-6


def keyed(outcomes):
    rows, images = {}, {}
    for found in outcomes:
        for row, image in zip(found.rows, found.images, strict=True):
            rows[row["image"], row["attack"]] = row
            images[row["image"], row["attack"]] = image
    return rows, images
