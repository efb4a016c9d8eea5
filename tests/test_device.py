"""Memory that is freed and kept: counted as the pages that the system has to give."""

import os
import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
from percert.device import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else False
for _ in range(3):
    torch.ones(48 << 20, dtype=torch.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(48 << 20, dtype=torch.uint8)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **environment: str) -> tuple[bool, int]:
    """Whether freed memory is kept, and the page faults of twenty blocks of 48 MiB."""
    named = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-c", COUNT, how],
        env={**named, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, count = run.stdout.split()
    return kept == "True", int(count)


def test_what_is_freed_is_taken_again() -> None:
    _, given_back = faults("given back")
    kept, count = faults("kept")
    if not kept:
        pytest.skip("this C library cannot be told")
    assert count < given_back / 2


def test_what_the_environment_says_stays() -> None:
    kept, _ = faults("kept", MALLOC_ARENA_MAX="4")
    assert not kept
