"""JPEG compression, as a file would be."""

import io

import numpy as np
import torch
from PIL import Image

from percert.tensors import Images


def jpeg(images: Images, quality: int) -> Images:
    """Each image written as a JPEG of this ``quality`` (1 to 100), and read again.

    Rounded to 8 bits first; libjpeg's tables, colour at half the resolution, as Pillow does it. No
    gradient: see :class:`percert.attacks.surviving.Surviving` for attacks that expect it.

    >>> image = torch.rand(1, 3, 16, 16)
    >>> jpeg(image, quality=75).shape
    torch.Size([1, 3, 16, 16])
    """
    levels = (images.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    decoded = []
    for image in levels.permute(0, 2, 3, 1).cpu().numpy():
        stream = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image)).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as found:
            decoded.append(torch.from_numpy(np.array(found.convert("RGB"))))
    if not decoded:
        return images.clone()
    stacked = torch.stack(decoded).permute(0, 3, 1, 2).to(images.device)
    return stacked.to(images.dtype) / torch.full((), 255.0, device=images.device)
