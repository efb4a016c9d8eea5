"""``python -m percert.training RECIPE --data DIR --out DIR``: run a recipe, or go on with it."""

import argparse
import logging
import sys
from pathlib import Path

import torch

from percert.training.recipe import read_recipe
from percert.training.tiny import train


def main() -> int:
    """Parse, train, report; 0 done, 1 failed with one line, 2 misused."""
    parser = argparse.ArgumentParser(prog="python -m percert.training", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a TOML recipe, such as recipes/lipsim-tiny.toml")
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder the recipe's paths lie in"
    )
    parser.add_argument("--out", type=Path, required=True, help="where state and weights go")
    parser.add_argument(
        "--start", type=Path, help="weights that an earlier run ended with, to begin from"
    )
    parser.add_argument("--threads", type=int, default=None, help="CPU threads")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        train(
            read_recipe(options.recipe),
            options.data,
            options.out,
            start=options.start,
            progress=_Progress(),
        )
    except (ValueError, OSError, RuntimeError) as error:
        sys.stderr.write(f"percert.training: error: {error}\n")
        return 1
    return 0


class _Progress:
    """Logs the mean of every 50 steps."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}

    def __call__(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value / 50
        if step % 50 == 0:
            logging.info(
                "step %d: %s", step, " ".join(f"{k} {v:.3f}" for k, v in self.sums.items())
            )
            self.sums = {}


if __name__ == "__main__":
    raise SystemExit(main())
