"""The timer: what is run, in which order, and what is left out. No time is tested."""

import json
from pathlib import Path

from benchmarks.speed import Case, time_cases

from benchmarks import speed, tables


def test_cases_are_interleaved_after_the_warm_up() -> None:
    ran: list[str] = []
    cases = [Case(name, "embed", 2, lambda name=name: ran.append(name)) for name in "ab"]
    timings = time_cases(cases, repeats=3, warm_up=1)
    assert ran == ["a", "b"] * 4
    for timing in timings:
        assert timing.repeats == 3
        assert 0 < timing.lower_quartile <= timing.median <= timing.upper_quartile
        assert timing.images_per_second == 2 / timing.median


def test_a_run_times_embedding_and_certificates(data: Path, tmp_path: Path) -> None:
    speed.main(
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
        ("thumbnail-8", "certify copies", 1),
        ("thumbnail-8", "embed", 32),
        ("thumbnail-8", "certify copies", 32),
        ("ssim", "embed", 1),
        ("ssim", "embed", 32),
    ]
    assert "## Speed" in tables.report(tmp_path)
