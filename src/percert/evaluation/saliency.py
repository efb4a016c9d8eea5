"""How far an attack moves what people look at: distances between saliency maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from percert.evaluation.attacked_files import Progress, Row, open_store, settle
from percert.evaluation.saliency_maps import Saliency
from percert.metrics.catalog import create_metric, metric_card
from percert.tensors import Images

#: Between two maps, in the order of the paper's Table 2.
DISTANCES = ("l1", "l2", "linf", "ssim")


def map_distances(reference: Tensor, maps: Tensor) -> list[dict[str, float | None]]:
    """l1, l2, linf and 1 - SSIM of each of ``maps`` ``(k, h, w)`` from ``reference`` ``(h, w)``.

    All in [0, 1]; l1 is a sum over pixels. SSIM is ``None`` for maps too small for its window.

    >>> map_distances(torch.zeros(2, 2), torch.full((1, 2, 2), 0.5))
    [{'l1': 2.0, 'l2': 1.0, 'linf': 0.5, 'ssim': None}]
    """
    change = (maps - reference).flatten(1)
    ssim: list[float | None] = [None] * len(maps)
    if min(maps.shape[1:]) >= metric_card("ssim").smallest_side:
        grey = maps[:, None].repeat(1, 3, 1, 1)
        with torch.no_grad():
            ssim = create_metric("ssim", device="cpu")(reference.expand_as(grey), grey).tolist()
    return [
        {"l1": l1, "l2": l2, "linf": linf, "ssim": one}
        for l1, l2, linf, one in zip(
            change.abs().sum(1).tolist(),
            change.norm(dim=1).tolist(),
            change.abs().amax(1).tolist(),
            ssim,
            strict=True,
        )
    ]


def saliency_distances(
    rows: Sequence[Row],
    originals: Path,
    methods: Mapping[str, tuple[Saliency, str]],
    out: Path,
    *,
    progress: Progress | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """By method, the ``rows`` with the distances of the saliency maps for their own.

    Measured are the files that succeeded; elsewhere a distance is ``None``. ``methods`` are as
    :func:`~percert.evaluation.saliency_maps.create_saliency` makes them. Keeps what it has measured
    in ``out``.
    """

    def measure(original: Images, others: Images, name: str) -> list[dict[str, float | None]]:
        maps = methods[name][0](torch.cat([original, others]))
        return map_distances(maps[0], maps[1:])

    found = settle(
        [row for row in rows if row["attacked"] and row["success_8bit"]],
        originals,
        {name: how for name, (_, how) in methods.items()},
        open_store(out, "saliency", dict.fromkeys(DISTANCES, float)),
        measure,
        progress=progress,
    )
    nothing = dict.fromkeys(DISTANCES)
    return {
        name: [
            {
                **row,
                **{
                    key: found.get((row["attack"], row["image"], name), nothing)[key]
                    for key in DISTANCES
                },
            }
            for row in rows
        ]
        for name in methods
    }
