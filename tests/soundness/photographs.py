"""Real photographs of scikit-image's wheel, in small crops of several sizes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

#: Name and every how many pixels to take, so that a crop shows something.
PHOTOGRAPHS = {
    "astronaut": 4,
    "coffee": 4,
    "chelsea": 3,
    "rocket": 4,
    "retina": 14,
    "hubble_deep_field": 8,
}


def photographs(height: int, width: int, *, shift: int = 0) -> Tensor:
    """One crop of each, ``(6, 3, height, width)`` float32, ``shift`` pixels off its centre."""
    data = pytest.importorskip("skimage.data")
    crops = []
    for name, stride in PHOTOGRAPHS.items():
        array = np.asarray(getattr(data, name)())[::stride, ::stride, :3]
        top = (array.shape[0] - height) // 2 + shift
        left = (array.shape[1] - width) // 2 + shift
        assert top >= 0, f"{name} is too small for {height} x {width}"
        assert left >= 0, f"{name} is too small for {height} x {width}"
        crop = array[top : top + height, left : left + width].astype(np.float32) / 255
        crops.append(torch.from_numpy(crop).permute(2, 0, 1))
    return torch.stack(crops)


def edited(images: Tensor, strength: float) -> Tensor:
    """A copy of another size: shrunk or enlarged, blurred, of less contrast, noisy."""
    generator = torch.Generator().manual_seed(7)
    small = F.interpolate(images, scale_factor=1 - 0.5 * strength, mode="bilinear", antialias=True)
    back = F.interpolate(small, size=images.shape[2:], mode="bilinear")
    noise = torch.randn(images.shape, generator=generator)
    return (0.1 * strength + (1 - 0.3 * strength) * back + 0.1 * strength * noise).clamp(0, 1)
