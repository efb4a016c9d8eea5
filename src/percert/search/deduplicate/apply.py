"""Plans applied, undone and purged, each step written to a journal before it is taken.

A run that was killed is gone on with by the same call: a step that had begun is looked for on the
disk.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from percert.check import one_line
from percert.files import file_sha256
from percert.search.deduplicate import steps
from percert.search.deduplicate.journal import Journal, journal_of
from percert.search.deduplicate.plan import Plan, PlannedStep, read_plan


@dataclass(frozen=True)
class StepOutcome:
    """What became of the file ``path``: where it is not ``ok``, it was left as it is, and why."""

    path: str
    ok: bool
    reason: str | None = None


def iter_apply(path: str | os.PathLike[str], *, dry_run: bool = False) -> Iterator[StepOutcome]:
    """Do what the plan ``path`` says; each outcome comes once its step is done and written down.

    Before each step both of its files are looked at: by size and time of change, then by the hash
    of their bytes. What has changed since the plan was made is left alone. Steps that were done
    before are passed over. With ``dry_run`` nothing is changed, and a step is ok that could be
    done now. Raises ``ValueError`` for what is no plan, for a plan that was changed after it was
    applied, and while another run is at it.
    """
    with _opened(path, write=not dry_run) as (plan, journal):
        digests: dict[tuple[int, ...], str] = {}

        def sha256(file: Path) -> str:
            found = os.stat(file)
            key = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
            if key not in digests:
                digests[key] = file_sha256(file)
            return digests[key]

        for number, step in enumerate(plan.steps):
            state, target = journal.states.get(number), _target(plan, step, journal)
            if state in ("done", "purged"):
                continue
            if state == "begun" and not dry_run and steps.settle(plan.action, step, target):
                journal.write(number, "done")
                yield StepOutcome(step.file.path, ok=True)
                continue
            why = _reason(partial(steps.why_not, step, sha256))
            if why is None and not dry_run:
                journal.write(number, "begun")
                why = _reason(partial(steps.do, plan.action, step, target))
                journal.write(number, "done" if why is None else None)
            yield StepOutcome(step.file.path, why is None, why)


def iter_undo(path: str | os.PathLike[str]) -> Iterator[StepOutcome]:
    """Put back what the plan ``path`` moved, linked or deleted, the last step first.

    Each file is again where it was, with its time of change. Where something else is in its place
    now, it stays where it is, and is named. What was purged is gone. Raises as :func:`iter_apply`.
    """
    with _opened(path) as (plan, journal):
        for number, step in reversed(list(enumerate(plan.steps))):
            state, target = journal.states.get(number), _target(plan, step, journal)
            if state is None:
                continue
            if state == "purged":
                yield StepOutcome(step.file.path, ok=False, reason="was purged")
                continue
            journal.write(number, "begun")
            why = _reason(partial(_put_back, plan, step, target, state == "begun"))
            journal.write(number, None if why is None else "done")
            yield StepOutcome(step.file.path, why is None, why)


def _put_back(plan: Plan, step: PlannedStep, target: Path, begun: bool) -> str | None:
    if begun and not steps.settle(plan.action, step, target):
        return None
    return steps.undo(plan.action, step, target)


def iter_purge(path: str | os.PathLike[str], *, dry_run: bool = False) -> Iterator[StepOutcome]:
    """Delete for good what the plan ``path`` put into trash folders: that cannot be undone.

    A file stays there if the one that was kept in its place is not what it was. With ``dry_run``
    nothing is deleted. Raises as :func:`iter_apply`, and ``ValueError`` for a plan that moves.
    """
    with _opened(path, write=not dry_run) as (plan, journal):
        if plan.action == "move":
            raise ValueError(f"{path}: moves files, and nothing of it is in the trash")
        for number, step in enumerate(plan.steps):
            if journal.states.get(number) != "done":
                continue
            why = None
            if not dry_run:
                target = _target(plan, step, journal)
                why = _reason(partial(steps.purge, step, target))
                if why is None:
                    journal.write(number, "purged")
            yield StepOutcome(step.file.path, why is None, why)


def _reason(attempt: Callable[[], str | None]) -> str | None:
    """What ``attempt`` says, or the system: one file that cannot be touched stops no other."""
    try:
        return attempt()
    except OSError as error:
        return f"cannot be changed ({one_line(error)})"


def _target(plan: Plan, step: PlannedStep, journal: Journal) -> Path:
    return steps.target_of(plan.action, step, journal.digest)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], *, write: bool = True) -> Iterator[tuple[Plan, Journal]]:
    import filelock  # torch depends on it

    plan = read_plan(path)
    place = Path(path)
    lock: Any = contextlib.nullcontext()
    if write:
        lock = filelock.FileLock(place.with_name(f".{place.name}.lock"), timeout=0)
    try:
        with lock:
            journal = Journal(journal_of(path), file_sha256(path), write=write)
            try:
                yield plan, journal
            finally:
                journal.close()
    except filelock.Timeout:
        raise ValueError(f"{path}: another run is at this plan") from None
