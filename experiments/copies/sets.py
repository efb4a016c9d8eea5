"""The sets of copies.rules: what is stored, what is asked, by whom; all embedded once."""

import argparse
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import torch

from experiments.copies.embedded import (
    Embed,
    EmbeddedSet,
    by_each,
    by_metric,
    fingerprint,
    kept,
    of_edit,
    of_files,
    pictures_in,
)
from experiments.photographs import DEFAULT_DATA
from percert.data.augly_edits import AUGLY_EDITS
from percert.data.copy_edits import USUAL_EDITS, Edit
from percert.evaluation.copies.hashes import create_detector
from percert.lipschitz.network import weights_hash
from percert.metrics.catalog import create_metric
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.descriptor import Descriptor, create_descriptor
from percert.search.ingest.views import VIEW_SETS, asked_views

#: Every view of the largest set that is stored, and what a query is asked in.
STORED = VIEW_SETS["exhaustive"]
ASKED = tuple(asked_views(STORED))
#: The hashes, which are computed together, and which bits are whose.
HASHES = {"pdq": (0, 256), "phash": (256, 320), "dhash": (320, 384)}
EDITS: dict[str, tuple[Edit, ...]] = {"usual": USUAL_EDITS, "augly": AUGLY_EDITS}
#: Photographs that copies are made of for the partner, and for the hashes.
PARTNER_OF, HASHED_OF = 60, 30
#: Sets of files, by name: those whose rows are asked, those stored, and those that fit a partner.
QUERY_SETS = ("imagenette-val", "tiny-val")
#: Those of the partner and the hashes.
PARTNER_STRANGERS = "imagenette-val"
STORED_SETS = ("photographs",)
FIT_SETS = ("imagenette-train", "tiny-test")
#: What stored images are measured against.
BACKGROUND = "tiny-test"


@dataclass(frozen=True)
class Sets:
    """``data`` holds the ImageNet-Compatible photographs, ``more`` Imagenette and Tiny ImageNet;
    ``work`` what was computed. ``limit`` takes the first so many of each set, for a trial;
    ``edited`` the first so many photographs to make copies of.
    """

    data: Path
    more: Path
    work: Path
    metric_name: str = "lipsim-tiny"
    partner_name: str = "sscd"
    checkpoint: str | None = None
    limit: int | None = None
    edited: int | None = None

    @cached_property
    def metric(self) -> EmbeddingMetric:
        found = create_metric(self.metric_name, self.checkpoint, "cpu")
        if not isinstance(found, EmbeddingMetric):
            raise ValueError(f"{self.metric_name}: expected a metric with certificates")
        return found

    @cached_property
    def descriptor(self) -> Descriptor:
        return create_descriptor(self.partner_name, "cpu")

    def paths(self, name: str) -> list[Path]:
        """The files of a set."""
        found = {
            "photographs": lambda: sorted(
                (self.data / "imagenet-compatible" / "images").glob("*.png")
            ),
            "imagenette-val": lambda: pictures_in(self.more / "imagenette-160" / "val"),
            "imagenette-train": lambda: pictures_in(self.more / "imagenette-160" / "train")[::6],
            "tiny-val": lambda: pictures_in(self.more / "tiny-imagenet-64" / "val"),
            "tiny-test": lambda: pictures_in(self.more / "tiny-imagenet-64" / "test")[::5],
        }[name]()
        return found[: self.limit]

    @cache  # noqa: B019  # one for the whole run
    def certified(self, name: str) -> EmbeddedSet:
        """Raw embeddings of a set: of what is stored in all views, else in those of a query."""
        stored = name in STORED_SETS
        views = STORED if stored else ASKED
        paths, embed = self.paths(name), by_metric(self.metric, views)
        return kept(self._folder(views), name, len(paths), of_files(paths), embed, half=True)

    @cache  # noqa: B019
    def certified_edit(self, edit: Edit) -> EmbeddedSet:
        """Raw embeddings of the photographs under ``edit``, in the metric's own precision."""
        paths, embed = self.paths("photographs"), by_metric(self.metric, ASKED, exact=True)
        count = len(paths[: self.edited])
        name = f"{edit.name}-{count}"
        return kept(self._folder(ASKED), name, count, of_edit(paths, edit), embed)

    @cache  # noqa: B019
    def described(self, name: str, by: str) -> EmbeddedSet:
        """A set by the partner, or by ``"hashes"``, ``(n, 1, k)``."""
        paths = self.paths(name)
        folder = self.work / by
        return kept(folder, f"{name}-{len(paths)}", len(paths), of_files(paths), self._each(by))

    @cache  # noqa: B019
    def described_edit(self, edit: Edit, by: str, count: int | None = None) -> EmbeddedSet:
        """The first ``count`` photographs under ``edit`` by the partner or the hashes."""
        paths, folder = self.paths("photographs"), self.work / by
        count = len(paths) if count is None else min(count, len(paths))
        return kept(folder, f"{edit.name}-{count}", count, of_edit(paths, edit), self._each(by))

    def _each(self, by: str) -> Embed:
        if by == self.partner_name:
            return by_each(self.descriptor.embed)
        detectors = [create_detector(name) for name in HASHES]
        return by_each(lambda one: torch.cat([each.describe(one).vectors for each in detectors], 1))

    def _folder(self, views: tuple[str, ...]) -> Path:
        weights = weights_hash(self.metric)[:16]
        return self.work / f"{self.metric_name}-{weights}-{fingerprint(views, self.limit)}"


def add_places(parser: argparse.ArgumentParser) -> None:
    """The options that say where pictures, rows and results lie."""
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--more", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out/copies-rules"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))


def embed_all(sets: Sets) -> None:
    """Everything that the experiment needs of its pictures, computed or found on the disk.

    What matters most comes first.
    """
    torch.set_grad_enabled(False)
    for name in (*STORED_SETS, BACKGROUND, *QUERY_SETS):
        sets.certified(name)
    for edits in EDITS.values():
        for edit in edits:
            sets.certified_edit(edit)
    for by, count in ((sets.partner_name, PARTNER_OF), ("hashes", HASHED_OF)):
        sets.described(STORED_SETS[0], by)
        for edit in (*EDITS["augly"], *EDITS["usual"]):
            sets.described_edit(edit, by, count)
        sets.described(PARTNER_STRANGERS, by)
    torch.set_grad_enabled(True)


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    embed_all(Sets(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
