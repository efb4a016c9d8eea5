"""The rule that ships for SSCD as a partner: how alike pictures are that have nothing in common.

    python -m experiments copies.partner_rule --more MORE --work WORK

By pictures of Imagenette's training set and Tiny ImageNet's test set (160 and 64 px) that nothing
is measured on, one of each: two of one set may be of one scene. Writes numbers alone,
``src/percert/weights/sscd-partner.json``: no direction of SSCD's is kept. Pairs above the cosine at
which its authors take 9 of 10 for copies are left out.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from experiments.copies.sets import FIT_SETS, Sets
from experiments.photographs import DEFAULT_DATA
from percert.files import write_whole
from percert.metrics.descriptor import create_descriptor
from percert.search.partner.rule import NONE, rule_of

#: SSCD's README: of pairs of DISC21 above it 90 % are copies.
COPIES = 0.75
OUT = Path(__file__).parents[2] / "src" / "percert" / "weights"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--more", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out/copies-rules"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    sets = Sets(DEFAULT_DATA, options.more, options.work)
    parts = [torch.from_numpy(sets.described(name, "sscd").rows[:, 0]) for name in FIT_SETS]
    cosines = parts[0] @ parts[1].T
    alike = cosines > COPIES
    named = " and ".join(f"{len(one)} of {name}" for one, name in zip(parts, FIT_SETS, strict=True))
    rule = rule_of(cosines[~alike], NONE, f"pictures, {named}")
    text = {
        "metric": "sscd",
        "weights": create_descriptor("sscd", "cpu").weights,
        "near_duplicates_left_out": int(alike.sum()),
        "rule": rule.to_json(),
    }
    write_whole(options.out / "sscd-partner.json", json.dumps(text, indent=1) + "\n")
    for rate in (1e-3, 1e-5, 1e-7, 1e-9):
        print(f"{rate:.0e}: {rule.level(rate):.4f}")


if __name__ == "__main__":
    main()
