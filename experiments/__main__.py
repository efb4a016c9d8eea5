"""Everything that is published, in one command: ``python -m experiments --data DIR --out DIR``."""

import argparse
import sys
from pathlib import Path
from time import perf_counter

import torch

from experiments import tables
from experiments.copies import edits
from experiments.photographs import DEFAULT_DATA
from experiments.speed import networks
from experiments.triplets import distortions


def main() -> None:
    parser = argparse.ArgumentParser(description="Copies, triplets, speed, and their tables.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--limit", type=int, help="the first photographs only")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    shared = ["--data", str(options.data), "--out", str(options.out)]
    shared += ["--threads", str(options.threads)]
    limit = [] if options.limit is None else ["--limit", str(options.limit)]
    start = perf_counter()
    networks.main(shared)
    edits.main(shared + limit)
    distortions.main(shared + limit)
    (options.out / "tables.md").write_text(tables.report(options.out))
    print(f"{options.out / 'tables.md'}: {perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
