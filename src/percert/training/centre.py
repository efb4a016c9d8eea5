"""The centre of a trained network: where plain pictures lie, and pages of text."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from percert.data.plain_pictures import PAGES, plain_pictures
from percert.images import Resize
from percert.lipschitz.centre import centre_of
from percert.lipschitz.network import LipschitzNetwork
from percert.tensors import Embeddings

#: Directions that pages span, and the share of pages that then hold too little.
AXES, SHARE = 8, 0.97
#: Pages of each kind, and the seed they are drawn with: the published ones are of seed 0.
COUNT, SEED = 16, 1


@torch.no_grad()
def fit_centre(network: LipschitzNetwork, resize: Resize) -> None:
    """Set what the :class:`~percert.lipschitz.centre.Centre` that ``network`` ends in holds.

    The centre is the embedding of a plain grey picture, which for a network that subtracts each
    channel's mean is that of every plain picture. The axes are the first principal directions of
    the embeddings of drawn pages (:mod:`percert.data.plain_pictures`) from there, and ``least`` is
    the content that the given share of these pages has not, in two digits, rounded up. Raises
    ``ValueError`` for a network that ends in none.
    """
    layer = centre_of(network)
    if layer is None:
        raise ValueError(f"{network.name}: expected a network that ends in a Centre")
    was_training = network.training
    network.eval()
    device = layer.centre.device
    grey = torch.full((1, 3, *network.resolution), 0.5, device=device)
    layer.centre.zero_()
    layer.centre.copy_(network(grey)[0])
    if len(layer.axes):
        pages = torch.cat([_embed(network, resize, page) for page in _pages()]).double()
        _, _, directions = torch.linalg.svd(pages, full_matrices=False)
        layer.axes.copy_(directions[: len(layer.axes)])
        layer.least.zero_()
        held = layer.content().margin(pages.float())
        layer.least.fill_(np.ceil(10 * float(held.quantile(SHARE))) / 10)
    network.train(was_training)


@cache
def _pages() -> tuple[Tensor, ...]:
    """Batches of drawn pages ``(n, 3, h, w)``, one a kind: two seconds of work, done once."""
    return tuple(
        torch.stack(
            [
                torch.from_numpy(np.array(page)).permute(2, 0, 1) / 255
                for page in plain_pictures(kind, COUNT, SEED)
            ]
        )
        for kind in PAGES
    )


def _embed(network: LipschitzNetwork, resize: Resize, pages: Tensor) -> Embeddings:
    like = next(network.buffers())
    found: Embeddings = network(resize(pages.to(like)))
    return found
