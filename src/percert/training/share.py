"""Which of many models a process trains: over devices and machines with Lightning Fabric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from percert.device import resolve_device
from percert.extras import install_extra


@dataclass(frozen=True)
class Place:
    """One process of ``world``: its ``rank`` (0: the one that sums up), and its device.

    ``wait`` returns when every process has called it.
    """

    rank: int
    world: int
    device: torch.device
    wait: Callable[[], Any]


def share(count: int, rank: int, world: int) -> Sequence[int]:
    """The models of ``count`` that process ``rank`` of ``world`` trains: every world-th.

    >>> [list(share(5, rank, 2)) for rank in range(2)]
    [[0, 2, 4], [1, 3]]
    """
    if not 0 <= rank < world:
        raise ValueError(f"rank: expected 0 to {world - 1}, found {rank}")
    return range(rank, count, world)


def find_place(device: str, devices: int = 1, nodes: int = 1) -> Place:
    """This process alone for one device; else one of ``devices`` x ``nodes``, by Fabric.

    Fabric starts the other processes of a machine, or finds its own place where Slurm or torchrun
    has started them all. Models share nothing but the folder that they are written to, so nothing
    is sent between processes.
    """
    if devices < 1 or nodes < 1:
        raise ValueError(f"devices, nodes: expected at least 1, found {devices}, {nodes}")
    if devices == nodes == 1:
        return Place(0, 1, resolve_device(device), lambda: None)
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise ValueError(
            f"several devices need lightning-fabric: {install_extra('train')}"
        ) from None
    kind = "cuda" if resolve_device(device).type == "cuda" else "cpu"
    fabric = Fabric(accelerator=kind, devices=devices, num_nodes=nodes, strategy="ddp")
    fabric.launch()
    return Place(fabric.global_rank, fabric.world_size, fabric.device, fabric.barrier)
