"""How much memory a query takes on a store that is larger than a limit.

    python -m experiments search.memory --rows 600000 --limit-mib 640 --out docs/results
    python -m experiments search.memory --store photos.store --out docs/results

Writes a store of random unit vectors, or takes one that is there. Starts a process that opens it,
warms up on a store of a few rows, and asks for the 10 nearest to 1 and to 100 queries, and for all
copies: the highest resident memory during each, above that before it. Queries are random vectors,
or rows of the store that is there. Writes ``index-memory.json``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.conditions import Conditions, conditions, write_result
from experiments.search.stores import query_features, random_units, write_store
from percert.certify import OwnThreshold
from percert.search import open_store
from percert.search.query.nearest import nearest_images
from percert.search.query.range_search import copies_within

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class MemoryResult:
    """MiB: the store on disk, and what each query took at its highest above before it.

    ``vectors``: what the store holds.
    """

    benchmark: str
    vectors: str
    rows: int
    width: int
    store_mib: float
    limit_mib: float
    before_mib: float
    taken_mib: dict[str, float]
    conditions: Conditions


def ask(large: str, small: str, *, held: bool) -> dict[str, float]:
    """What each kind of query takes; the first entry is what the process held before.

    Queries are random, or with ``held`` rows of the store ``large``.
    """
    torch.set_num_threads(1)
    store, warm = open_store(large, memory=0), open_store(small, memory=0)
    width = store.metric_id.width
    asked = next(store.blocks(100)).embeddings if held else random_units(100, width, 7)
    features = query_features(asked)

    def queries(of: str) -> None:
        opened = warm if of == "warm" else store
        nearest_images(opened.blocks, features[:1], 10)

    queries("warm")
    nearest_images(warm.blocks, features, 10)
    taken = {"before": _status("VmRSS")}
    copies = {"whole": features}
    kinds: dict[str, Callable[[], object]] = {
        "1 query": lambda: nearest_images(store.blocks, features[:1], 10),
        "100 queries": lambda: nearest_images(store.blocks, features, 10),
        "copies of 100": lambda: copies_within(store.blocks, copies, OwnThreshold(0.3), 0.1),
    }
    for name, work in kinds.items():
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        work()
        taken[name] = _status("VmHWM") - before
    return taken


def _status(name: str) -> float:
    line = next(one for one in STATUS.read_text().splitlines() if one.startswith(name))
    return int(line.split()[1]) / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    if options.child:
        print(json.dumps(ask(*options.child, held=options.held)))
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        large, small = options.store or Path(temporary) / "large", Path(temporary) / "small"
        made = ((small, 1000),) if options.store else ((large, options.rows), (small, 1000))
        width = open_store(large).metric_id.width if options.store else options.width
        for folder, count in made:
            vectors = random_units(count, width, 0)
            write_store(folder, vectors, [f"{row:08d}" for row in range(count)])
            del vectors
        store = open_store(large)
        rows, size = store.count, store.tables.images.stats()["total_bytes"]
        held = f"embeddings of {store.metric_id.name}" if options.store else "random"
        command = [
            sys.executable,
            "-m",
            "experiments.search.memory",
            "--child",
            str(large),
            str(small),
        ]
        command += ["--held"] if options.store else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken = json.loads(done.stdout)
    before = taken.pop("before")
    result = MemoryResult(
        "index-memory",
        held,
        rows,
        width,
        size / 2**20,
        options.limit_mib,
        before,
        taken,
        conditions(0),
    )
    write_result(options.out / "index-memory.json", result)
    print(f"store {size / 2**20:.0f} MiB; before {before:.0f} MiB; taken {taken}")
    if size / 2**20 <= options.limit_mib or max(taken.values()) > options.limit_mib:
        raise SystemExit(1)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Memory of a query on a large store.")
    parser.add_argument("--store", type=Path, help="one that is there, instead of random vectors")
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--limit-mib", type=float, default=640)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--held", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=2, metavar=("LARGE", "SMALL"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
