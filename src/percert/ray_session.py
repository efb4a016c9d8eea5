"""Ray, for those who ask for its engine: imported when needed, started where it does not run."""

import contextlib
import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from percert.extras import install_extra


@contextlib.contextmanager
def ray_session(address: str | None = None, workers: int | None = None) -> Iterator[Any]:
    """Ray, connected to the cluster at ``address``, or to a new one of ``workers`` processors here.

    One that runs in this process already is used as it is, and left running. Raises ``ValueError``
    where Ray is missing and where the cluster cannot be started or reached.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise ValueError(f"ray: cannot be imported ({error}): {install_extra('ray')}") from None
    started = not ray.is_initialized()
    if started:
        _start(ray, address, workers)
    try:
        yield ray
    finally:
        if started:
            ray.shutdown()


def _start(ray: Any, address: str | None, workers: int | None) -> None:
    # Ray asks its makers' server for nothing, and says nothing that is not an error.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Its workers would stand back behind everything else on the machine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    options: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the cluster at {address}" if address else "a cluster on this machine"
        raise ValueError(f"ray: cannot start or reach {where} ({error})") from None


def worker_count(ray: Any, workers: int | None, *, gpus: bool = True) -> tuple[int, bool]:
    """How many workers of a GPU each, or else of a processor each, there can be; and which.

    At most ``workers``: more would wait for ever for their turn.
    """
    resources: dict[str, float] = ray.cluster_resources()
    with_gpu = int(resources.get("GPU", 0)) if gpus else 0
    most = with_gpu or max(1, int(resources.get("CPU", 1)))
    return min(workers or most, most), bool(with_gpu)
