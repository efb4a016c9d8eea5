"""The timer: what is run, in which order, and what is left out. No time is tested."""

import json
from pathlib import Path

import pytest

from experiments import tables
from experiments.speed import networks
from experiments.speed.networks import Case, time_cases


def test_cases_are_interleaved_after_the_warm_up() -> None:
    ran: list[str] = []
    cases = [Case(name, "embed", 2, lambda name=name: ran.append(name)) for name in "ab"]
    timings, costs = time_cases(cases, repeats=3, warm_up=1)
    assert costs == []
    assert ran == ["a", "b"] * 4
    for timing in timings:
        assert timing.repeats == 3
        assert 0 < timing.lower_quartile <= timing.median <= timing.upper_quartile
        assert timing.images_per_second == 2 / timing.median


def test_the_cost_of_a_certificate_is_the_ratio_to_the_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter([0.0, 1.0, 10.0, 11.5, 20.0, 22.0, 30.0, 33.0, 40.0, 41.0, 50.0, 53.0])
    monkeypatch.setattr(networks, "perf_counter", lambda: next(now))
    cases = [Case("a", task, 4, lambda: None) for task in (networks.DISTANCE, networks.COPIES)]
    _, (cost,) = time_cases(cases, repeats=3, warm_up=0)
    # 1.5 by 1, 3 by 2, 3 by 1.
    assert (cost.name, cost.beside, cost.batch) == ("a", "distance", 4)
    assert (cost.median, cost.lower_quartile, cost.upper_quartile) == (1.5, 1.5, 2.25)


def test_a_run_times_embedding_and_certificates(data: Path, tmp_path: Path) -> None:
    networks.main(
        [
            "--data",
            str(data),
            "--out",
            str(tmp_path),
            "--metric",
            "thumbnail-8",
            "--metric",
            "ssim",
            "--repeats",
            "2",
            "--warm-up",
            "0",
            "--threads",
            "1",
        ]
    )
    result = json.loads((tmp_path / "speed.json").read_text())
    tasks = [(one["name"], one["task"], one["batch"]) for one in result["timings"]]
    assert tasks == [
        ("thumbnail-8", "embed", 1),
        ("thumbnail-8", "distance", 1),
        ("thumbnail-8", "certify copies", 1),
        ("thumbnail-8", "embed", 32),
        ("thumbnail-8", "distance", 32),
        ("thumbnail-8", "certify copies", 32),
        ("ssim", "embed", 1),
        ("ssim", "embed", 32),
    ]
    assert [(one["name"], one["beside"], one["batch"]) for one in result["costs"]] == [
        ("thumbnail-8", "distance", 1),
        ("thumbnail-8", "distance", 32),
    ]
    assert "## Speed" in tables.report(tmp_path)
