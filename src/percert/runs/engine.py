"""One run over a set: read, batched by size, measured, kept on the disk, resumed after a kill.

A measure is a generator of :class:`Step`: it reads its items (:func:`read_all`), takes them in
batches of one size (:func:`batches`), and yields the rows of each. :meth:`RunFolder.keep` writes
them as they come and hands the measure what is there already, so that nothing is done twice.
"""

import hashlib
import json
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from torch import Tensor

from percert.files import write_whole
from percert.images import ImageError, LeftOut, save_image
from percert.images.walk import listed
from percert.reports.records import (
    Columns,
    RecordStore,
    Row,
    check_same_settings,
    read_run,
    write_run,
)
from percert.reports.table import Table, finite

#: How many batches' worth of images are held at once, where their sizes differ.
HELD = 8

Item = TypeVar("Item")
Read = TypeVar("Read")

#: The keys, such as (image, attack), of the rows that are there already.
Done: TypeAlias = Set[tuple[str, ...]]
#: Called with what is being done, how much of it is done, and how much there is.
Progress: TypeAlias = Callable[[str, int, int], object]


@dataclass(frozen=True, eq=False)
class Step:
    """The result of a step: ``rows``, with 8-bit ``images`` ``(3, h, w)`` where these are kept.

    Or the name of an item that could not be read or judged (``bad``), or of an attack that gave up
    (``failed``), with the ``reason``.
    """

    rows: Sequence[dict[str, Any]] = ()
    images: Sequence[Tensor | None] = ()
    bad: str | None = None
    failed: str | None = None
    reason: str = ""


def silent(what: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


def seed_of(seed: int, name: str) -> int:
    """An item's own seed: whatever else is measured, in whatever order, it stays the same.

    >>> seed_of(0, "a.png") != seed_of(1, "a.png") != seed_of(1, "b.png")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4], "big")


def read_all(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    name: Callable[[Item], str],
    reason: Callable[[Item, ImageError], str] = lambda item, error: str(error),
) -> Iterator[Read | Step]:
    """Each item as ``read`` gives it, or a step with the failure of one that cannot be read."""
    for item in items:
        try:
            yield read(item)
        except ImageError as error:
            yield Step(bad=name(item), reason=reason(item, error))


def batches(
    found: Iterable[Read | Step],
    size: Callable[[Read], Hashable],
    count: int,
    *,
    in_order: bool = False,
) -> Iterator[list[Read] | Step]:
    """Lists of up to ``count`` things of one ``size``; steps pass through as they are.

    Lists are full where that can be with :data:`HELD` times as many held at once. ``in_order``
    takes neighbours only, so that everything comes in the order in which it was found.

    >>> list(batches(["a", "bb", "c", "dd", "ee"], len, 2))
    [['a', 'c'], ['bb', 'dd'], ['ee']]
    >>> list(batches(["a", "bb", "c", "dd", "ee"], len, 2, in_order=True))
    [['a'], ['bb'], ['c'], ['dd', 'ee']]
    """
    waiting: dict[Hashable, list[Read]] = {}
    for one in found:
        if isinstance(one, Step):
            yield one
            continue
        key = size(one)
        if in_order and waiting and key not in waiting:
            yield waiting.popitem()[1]
        waiting.setdefault(key, []).append(one)
        if len(waiting[key]) >= count:
            yield waiting.pop(key)
        elif sum(map(len, waiting.values())) >= HELD * count:
            yield waiting.pop(max(waiting, key=lambda some: len(waiting[some])))
    yield from waiting.values()


@dataclass(eq=False)
class Kept:
    """All rows of a folder, and (name, reason) of what could not be done in this run."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


class RunFolder:
    """The folder that a run writes: ``run.json`` from its start on, records, and its answer.

    ``settings`` are those on which the results depend: raises ``ValueError`` where the folder holds
    a run with others. ``command`` makes it again. The seconds of a run that goes on are added up.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        device: str = "cpu",
        seed: int | None = None,
        command: Sequence[str] = (),
    ) -> None:
        before = _same_settings(path, settings)
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.settings, self.device, self.seed = path, settings, device, seed
        self.command = list(command)
        self._began = time.perf_counter() - float((before or {}).get("seconds") or 0.0)
        self.note(finished=False)

    @property
    def seconds(self) -> float:
        """The time since the run began, with that of earlier runs that it goes on with."""
        return time.perf_counter() - self._began

    def note(self, *, finished: bool, **more: Any) -> None:
        """Write ``run.json``."""
        write_run(
            self.path,
            command=self.command,
            settings=self.settings,
            seed=self.seed,
            device=self.device,
            seconds=self.seconds,
            finished=finished,
            **more,
        )

    def keep(
        self,
        columns: Columns,
        steps: Callable[[Done], Iterable[Step]],
        *,
        wanted: Sequence[tuple[str, ...]],
        key: tuple[str, ...] = ("image", "attack"),
        order: Callable[[Row], Any] | None = None,
        image_file: Callable[[Row], str] = lambda row: str(row["file"]),
        summary: Callable[[Sequence[Row]], Mapping[str, Any]] = lambda rows: {},
        what: str = "",
        progress: Progress = silent,
    ) -> Kept:
        """Write what ``steps`` yields, all but what is done, into ``records.parquet``.

        ``wanted`` are the keys of all rows that are asked for. The image of a row is at
        ``image_file(row)`` before the row is there. ``summary`` of all rows goes into ``run.json``,
        where what was bad or failed stands as well; a run with failures is not finished.
        """
        store = RecordStore(self.path, columns, key=key)
        done = {tuple(row[name] for name in key) for row in store.rows()}
        count = len(done.intersection(wanted))
        kept, finished = Kept(), False
        progress(what, count, len(wanted))
        try:
            for step in steps(done):
                for row, image in zip(step.rows, step.images, strict=False):
                    if image is not None:
                        path = self.path / image_file(row)
                        path.parent.mkdir(parents=True, exist_ok=True)
                        save_image(image, path)
                store.append(step.rows)
                self._note_failure(step, kept)
                count += len(step.rows)
                progress(what, count, len(wanted))
            finished = not kept.failed
        finally:
            kept.rows = store.merge(order)
            self.note(
                finished=finished,
                bad=listed(kept.bad, "name"),
                failed=listed(kept.failed, "name"),
                **summary(kept.rows),
            )
        return kept

    def _note_failure(self, step: Step, kept: Kept) -> None:
        if step.bad is not None:
            kept.bad.append((step.bad, step.reason))
        if step.failed is not None:
            reason, _, details = step.reason.partition("\n")
            kept.failed.append((step.failed, reason))
            with (self.path / "errors.log").open("a", encoding="utf-8") as log:
                log.write(f"{step.failed}\n{details}\n")

    def answer(self, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """:func:`write_answer` into the folder."""
        return write_answer(self.path, name, answer)


def write_answer(folder: Path, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``answer`` to ``NAME.json``, whole or not at all, and give it back with the folder.

    Numbers that JSON cannot hold become null.
    """
    whole: dict[str, Any] = finite({"out": str(folder), **answer})
    text = json.dumps(whole, indent=2, allow_nan=False)
    write_whole(folder / f"{name}.json", f"{text}\n".encode())
    return whole


@dataclass(frozen=True, eq=False)
class RunResult:
    """The result of a run or an evaluation: ``answer`` for JSON, ``shown`` for a terminal.

    ``bad`` are (name, reason) of what could not be read or judged, ``failed`` of attacks that gave
    up; ``left_out`` what the search for images left out.
    """

    answer: dict[str, Any]
    shown: tuple[Table | str, ...]
    bad: Sequence[tuple[str, str]] = ()
    failed: Sequence[tuple[str, str]] = ()
    left_out: Sequence[LeftOut] = ()


def _same_settings(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """``run.json`` of an earlier run with the same ``settings``, ``None`` without one."""
    found = read_run(folder)
    if found is not None:
        check_same_settings(folder, found.get("settings", {}), settings)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: a file, expected a folder to write to")
    return found
