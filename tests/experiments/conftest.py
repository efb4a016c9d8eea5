"""A folder of made-up photographs for every benchmark's tiny run."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def photograph(seed: int, side: int = 64) -> Image.Image:
    """Smooth, and unlike any other seed's."""
    coarse = np.random.default_rng(seed).integers(20, 236, (9, 9, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def photographs() -> list[Image.Image]:
    return [photograph(seed) for seed in range(4)]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, photographs: list[Image.Image]) -> Path:
    """The photographs where the experiments look for them."""
    folder: Path = tmp_path_factory.mktemp("data") / "imagenet-compatible" / "images"
    folder.mkdir(parents=True)
    for place, image in enumerate(photographs):
        image.save(folder / f"{place:03}.png")
    return folder.parents[1]
