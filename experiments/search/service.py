"""How many questions a second ``percert app`` answers of a store, to one client and to fifty.

    python -m experiments search.service photos.store --images queries/ --out docs/results

Starts the server as a process of its own, twice: as it is, and with passes of one question each.
Each client asks for copies, or the nearest, one question after the other, for ``--seconds``; the
two servers are asked in turns, ``--rounds`` of them, so that a slower minute of the machine falls
on both. Says how many were answered a second, how long one took, and how many shared a pass, by the
servers' own ``/metrics``. Writes ``search-service.json``.
"""

import argparse
import itertools
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from experiments.conditions import Conditions, conditions, write_result
from percert.images import find_images

SERVER = """
import sys
from percert.app.resources import Limits, Resources
from percert.app.server import serve
serve(
    Resources(store=sys.argv[1]),
    port=0,
    limits=Limits(together=int(sys.argv[2]), answer_seconds=600.0),
    api_only=True,
    ready=lambda address: print(address, flush=True),
)
"""
TOGETHER = 32
#: Seconds of each answer, those of the whole, and how many questions a pass answered.
Round = tuple[list[float], float, float]


@dataclass(frozen=True)
class Served:
    """What ``clients`` got of a server whose passes hold at most ``together`` questions."""

    together: int
    clients: int
    what: str
    answered: int
    a_second: float
    median_seconds: float
    shared: float


@dataclass(frozen=True)
class ServiceResult:
    """All of a run."""

    benchmark: str
    images: int
    metric: str
    seconds: float
    served: list[Served]
    conditions: Conditions


@contextmanager
def serving(store: Path, together: int) -> Iterator[str]:
    """The address of a server of its own."""
    started = [sys.executable, "-c", SERVER, str(store), str(together)]
    process = subprocess.Popen(started, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def counted(address: str) -> tuple[float, float]:
    """Questions taken up, and passes, until now."""
    text = httpx.get(f"{address}metrics", timeout=60).text

    def value(name: str) -> float:
        found = re.search(rf"^{name} (\S+)$", text, re.M)
        assert found is not None
        return float(found.group(1))

    return value("percert_questions_taken_total"), value("percert_passes_total")


def serve_clients(
    address: str, what: str, clients: int, seconds: float, images: Sequence[bytes]
) -> Round:
    """What so many clients get of one server."""
    took: list[float] = []
    failed: list[str] = []
    before, began = counted(address), time.perf_counter()

    def ask(number: int) -> None:
        with httpx.Client(base_url=f"{address}api/v1", timeout=900) as client:
            for at in itertools.count(number):
                asked = time.perf_counter()
                if asked - began > seconds:
                    return
                answer = client.post(what, files={"image": images[at % len(images)]})
                took.append(time.perf_counter() - asked)
                if answer.status_code != 200:
                    failed.append(answer.text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = time.perf_counter() - began
    if failed:
        raise SystemExit(f"{len(failed)} of {len(took)} questions failed: {failed[0]}")
    taken, passes = (now - then for now, then in zip(counted(address), before, strict=True))
    return took, whole, taken / passes


def _served(together: int, clients: int, what: str, rounds: Sequence[Round]) -> Served:
    """All rounds of a server as one."""
    took = [seconds for some, _, _ in rounds for seconds in some]
    rate = len(took) / sum(whole for _, whole, _ in rounds)
    shared = statistics.mean(shared for _, _, shared in rounds)
    return Served(together, clients, what, len(took), rate, statistics.median(took), shared)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="pictures that it does not hold")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    images = [path.read_bytes() for path in find_images([options.images])[:200]]
    served = []
    with serving(options.store, 1) as alone, serving(options.store, TOGETHER) as shared:
        addresses = {1: alone, TOGETHER: shared}
        for address in addresses.values():
            for what in ("/copies", "/search"):  # loaded, read, turned
                serve_clients(address, what, 4, 5.0, images)
        # A server that has just started has no store yet to tell of.
        about = httpx.get(f"{shared}api/v1/about", timeout=300).json()["store"]
        for what in ("/copies", "/search"):
            for clients in (1, options.clients):
                rounds: dict[int, list[Round]] = {1: [], TOGETHER: []}
                for _ in range(options.rounds):
                    for together, address in addresses.items():
                        rounds[together].append(
                            serve_clients(address, what, clients, options.seconds, images)
                        )
                for together, some in rounds.items():
                    served.append(_served(together, clients, what, some))
                    print(asdict(served[-1]), flush=True)
    result = ServiceResult(
        "search-service", about["images"], about["metric"], options.seconds, served, conditions(0)
    )
    write_result(options.out / "search-service.json", result)


if __name__ == "__main__":
    main()
