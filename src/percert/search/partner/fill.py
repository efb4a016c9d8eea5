"""Gives a store a partner: its threshold rule, and a row for each image that lacks one.

Rows are made from the files that the store names, after checking that their bytes are those that
were stored. A run that is killed resumes; an image whose file cannot be read any more, or that was
added as a tensor, gets no row.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from percert.data.labelled_images import ParquetImages
from percert.device import full_precision
from percert.images import ImageError, iter_images, search_images
from percert.images.load import decode_image, open_file
from percert.metrics.descriptor import Descriptor
from percert.search.partner.rule import PartnerRule, fit_rule, shipped_rule
from percert.search.partner.table import (
    PartnerId,
    add_rows,
    make_partner,
    open_partner,
    read_ids,
    read_partner_id,
    refit,
)
from percert.search.tables.files import key_path
from percert.search.tables.location import Tables
from percert.search.tables.scan import paths_by_id
from percert.search.tables.schema import in_parts
from percert.tensors import Embeddings

#: Rows of a commit.
AT_ONCE = 256
#: Called with what is done and how much there is.
Progress = Callable[[int, int], object]


@dataclass
class Filled:
    """``added`` rows, and ``bad`` (file, reason) of images that stay without."""

    added: int = 0
    bad: list[tuple[str, str]] = field(default_factory=list)


def directions(descriptor: Descriptor, images: Sequence[Tensor]) -> Embeddings:
    """The directions ``(n, k)`` of images ``(3, h, w)``, on the CPU."""
    like = next(iter(descriptor.model.parameters()), None)
    device = torch.device("cpu") if like is None else like.device
    if not images:
        raise ValueError("partner: expected at least one image, found none")
    with torch.no_grad(), full_precision(device):
        return torch.cat([descriptor.embed(one[None].to(device)).float().cpu() for one in images])


def set_partner(
    tables: Tables,
    descriptor: Descriptor,
    strangers: Sequence[str | os.PathLike[str]] | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[PartnerId, PartnerRule | None]:
    """Make ``descriptor`` the partner of a store; returns its identity, and the rule it had before.

    ``strangers`` are files and folders of pictures that have nothing to do with the collection, at
    least :data:`~percert.search.partner.rule.FEWEST`: the rule and the background are calibrated on
    them, and replace those of an existing partner. Without strangers an existing partner stays as
    it is, and a new one takes the rule that ships with percert. Raises ``ValueError`` where there
    is none, for another partner than the store's, and for other weights.
    """
    table, weights = open_partner(tables.path), descriptor.weights
    before = None
    if table is not None:
        held = read_partner_id(table)
        check_same_partner(held, descriptor, tables.path)
        if strangers is None:
            return held, held.rule
        before = held.rule
    if strangers is None:
        rule = shipped_rule(descriptor.name, weights)
        if rule is None:
            raise ValueError(
                f"partner {descriptor.name}: percert has no rule for these weights; name pictures "
                "that have nothing to do with the collection, to make one by (strangers)"
            )
        background = torch.zeros(0, len(_probe(descriptor)))
    else:
        g, source = _strangers(descriptor, strangers, progress)
        rule, background = fit_rule(g, source)
    partner = PartnerId(descriptor.name, weights, len(_probe(descriptor)), rule)
    if table is None:
        make_partner(tables.path, partner, background)
    else:
        refit(tables.path, table, partner, background)
    return partner, before


def check_same_partner(held: PartnerId, descriptor: Descriptor, store: str) -> None:
    """Raise ``ValueError`` unless the rows of a store are of this descriptor."""
    weights = descriptor.weights
    if (held.name, held.weights) != (descriptor.name, weights):
        raise ValueError(
            f"{store}: its partner is {held.name} with weights {held.weights}, found "
            f"{descriptor.name} with weights {weights}"
        )


def fill_partner(
    tables: Tables,
    descriptor: Descriptor,
    *,
    max_memory: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Filled:
    """Give each stored image without a row of the partner its own, from one of its files."""
    table = open_partner(tables.path)
    if table is None:
        raise ValueError(f"{tables.path}: has no partner")
    tables.refresh()
    stored = tables.images.search().select(["id"]).to_arrow()["id"].to_pylist()
    there = set(read_ids(table))
    missing = [id for id in stored if id not in there]
    paths, done, result = paths_by_id(tables), 0, Filled()
    for part in in_parts(missing, AT_ONCE):
        ids, pixels = [], []
        for id in part:
            image = _image(id, paths.get(id, []), max_memory, result.bad)
            if image is not None:
                ids.append(id)
                pixels.append(image)
        if ids:
            add_rows(tables.path, table, ids, directions(descriptor, pixels))
        result.added += len(ids)
        done += len(part)
        progress(done, len(missing))
    return result


def add_partner_tensors(
    tables: Tables, descriptor: Descriptor, images: Sequence[Tensor], ids: Sequence[str]
) -> None:
    """Store the partner's rows of images that come as tensors."""
    table = open_partner(tables.path)
    for start in range(0, len(ids) if table is not None else 0, AT_ONCE):
        some = [image.detach().cpu() for image in images[start : start + AT_ONCE]]
        add_rows(tables.path, table, ids[start : start + AT_ONCE], directions(descriptor, some))


def _image(
    id: str, paths: Sequence[str], max_memory: int | None, bad: list[tuple[str, str]]
) -> Tensor | None:
    """The stored image from the first of its files that still holds its bytes."""
    reason = "no file of it is known"
    for path in paths:
        try:
            data = _read(path)
            if hashlib.sha256(data).hexdigest() != id:
                reason = "its file holds another image now"
                continue
            return decode_image(data, path, max_memory=max_memory)
        except ImageError as error:
            reason = error.reason
        except (OSError, ValueError) as error:
            reason = f"cannot be read ({error})"
    bad.append((paths[0] if paths else id, reason))
    return None


def _read(key: str) -> bytes:
    path, row = key_path(key)
    if row is None:
        with open_file(path) as file:
            return file.read()
    encoded = _parquet(path).read(row)
    if encoded is None:
        raise ImageError(path, f"row {row} holds no bytes")
    return encoded


@lru_cache(maxsize=1)
def _parquet(path: Path) -> ParquetImages:
    return ParquetImages(path, extra="search")


def _strangers(
    descriptor: Descriptor, places: Sequence[str | os.PathLike[str]], progress: Progress
) -> tuple[Embeddings, str]:
    paths = search_images([Path(one) for one in places]).paths
    found = list(_each(descriptor, paths, progress))
    named = ", ".join(os.fspath(one) for one in places)
    if not found:
        raise ValueError(f"strangers: {named}: no images found")
    return torch.cat(found), f"{len(found)} pictures of {named}"


def _each(descriptor: Descriptor, paths: Sequence[Path], progress: Progress) -> Iterator[Tensor]:
    for done, (_, image) in enumerate(iter_images(paths), 1):
        progress(done, len(paths))
        if not isinstance(image, ImageError):
            yield directions(descriptor, [image])


def _probe(descriptor: Descriptor) -> Any:
    """The direction of a grey picture, for the number of its values."""
    return directions(descriptor, [torch.full((3, 64, 64), 0.5)])[0]
