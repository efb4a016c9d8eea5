"""On what a run computes: one process or many, through lightning-fabric."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from percert.check import one_line
from percert.device import resolve_device
from percert.extras import install_extra


@dataclass(frozen=True)
class Devices:
    """``device`` is ``auto``, ``cpu`` or ``cuda``; ``devices`` are processes a node, one GPU each.

    ``None`` takes what torchrun says, otherwise 1. With more than one process gradients are
    averaged (DDP). Under torchrun and Slurm the processes are theirs, otherwise they are started
    here, on one node.
    """

    device: str = "auto"
    devices: int | None = None
    nodes: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("devices", self.devices), ("nodes", self.nodes)):
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, found {value}")


def start_fabric(devices: Devices) -> Any:
    """A launched ``Fabric``: where there are several processes, each comes out of it.

    Float32 throughout. Raises ``ValueError`` where lightning-fabric is not installed, or the
    devices are not there. :func:`~percert.training.engine.together.launched` is this for processes
    that are to stop together.
    """
    return launch(new_fabric(devices))


def new_fabric(devices: Devices) -> Any:
    """A ``Fabric`` that is still to be launched. Raises what :func:`start_fabric` does."""
    try:
        from lightning_fabric import Fabric
    except ModuleNotFoundError:
        raise ValueError(f"training: needs lightning-fabric: {install_extra('train')}") from None
    count, nodes = process_counts(devices, os.environ)
    kind = resolve_device(devices.device).type
    with _refusals():
        return Fabric(
            accelerator="cuda" if kind == "cuda" else "cpu",
            devices=count,
            num_nodes=nodes,
            strategy="ddp" if count * nodes > 1 else "auto",
            precision="32-true",
        )


def launch(fabric: Any) -> Any:
    """Start the other processes of ``fabric``, where there are some, and meet them; returns it."""
    with _refusals():
        fabric.launch()
    return fabric


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, ImportError) as error:
        raise ValueError(f"training: cannot start: {one_line(error, 500)}") from error


def process_counts(devices: Devices, environment: Mapping[str, str]) -> tuple[int, int]:
    """Processes a node, and nodes: as asked for, else as torchrun says, else 1.

    >>> process_counts(Devices(devices=2), {"WORLD_SIZE": "2"})  # a process that was started here
    (2, 1)
    >>> process_counts(Devices(), {"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"})  # torchrun
    (8, 2)
    """
    local = int(environment.get("LOCAL_WORLD_SIZE", 0))  # torchrun's alone
    world = int(environment.get("WORLD_SIZE", local)) if local else 1
    return devices.devices or local or 1, devices.nodes or max(1, world // max(1, local))
