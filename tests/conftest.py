"""What every test shares: fixed seeds, few threads, and the optional folder of real data."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]

# The same examples on every run and machine: a failure is a fact to work on, not an event.
settings.register_profile("percert", derandomize=True, deadline=None)
settings.load_profile("percert")


def pytest_configure() -> None:
    # Sums in another order differ in the last bits, so the number of threads must not depend on
    # the machine; and xdist's workers would fight over its cores.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of photographs that the repository does not hold; skips where it is absent."""
    folder = Path(os.environ.get("PERCERT_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no folder of real photographs at {folder} (PERCERT_DATA names another)")
    return folder
