"""What a teacher is: images in [0, 1] to embeddings, and a name for what computes them."""

import hashlib
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from percert.check import check_images
from percert.lipschitz.weights_hash import weights_hash
from percert.tensors import Embeddings, Images


class Teacher(Protocol):
    """Maps sRGB images ``(n, 3, h, w)`` in [0, 1] of any size to embeddings ``(n, d)``, float32.

    Resizing and normalisation live inside. ``fingerprint`` names the weights and everything else
    that an embedding depends on: two teachers of one fingerprint give the same embeddings.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def __call__(self, images: Images, /) -> Embeddings: ...


class NetworkTeacher:
    """A teacher made of a network whose ``embed`` gives ``(n, d)`` or a map ``(n, d, h', w')``.

    Maps are averaged over positions. Evaluated without gradients, on the images' device, in
    float32, or in bf16 where ``bf16`` is set: a teacher certifies nothing. ``identity`` names what
    the embedding depends on beside the weights that torch sees.

    >>> network = nn.Conv2d(3, 5, 2).requires_grad_(False)
    >>> teacher = NetworkTeacher("mine", network, network, identity="2 x 2")
    >>> teacher(torch.rand(4, 3, 8, 8)).shape
    torch.Size([4, 5])
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        embed: Callable[[Tensor], Tensor],
        *,
        identity: str,
        bf16: bool = False,
    ) -> None:
        self.name = name
        self.bf16 = bf16
        self._network = network.eval().requires_grad_(False)
        self._embed = embed
        parts = f"{name}\n{identity}\n{'bf16' if bf16 else 'float32'}\n{weights_hash(network)}"
        self.fingerprint = hashlib.sha256(parts.encode()).hexdigest()
        self._device = torch.device("cpu")

    def __call__(self, images: Images, /) -> Embeddings:
        check_images(images)
        if images.device != self._device:
            self._network.to(images.device)
            self._device = images.device
        with (
            torch.inference_mode(),
            torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            found = self._embed(images.float())
        if found.ndim == 4:
            found = found.mean((2, 3))
        if found.ndim != 2 or len(found) != len(images):
            raise ValueError(
                f"teacher {self.name}: expected embeddings (n, d) for {len(images)} images, "
                f"found {tuple(found.shape)}"
            )
        return found.float().clone()
