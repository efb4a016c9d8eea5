"""A plan of what is to be done with copies: a file of JSON, to be read before anything is done."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from percert.check import Argument, ArgumentError
from percert.files import write_whole
from percert.search.deduplicate.choices import ACTIONS, Action
from percert.search.deduplicate.files import StoredFile
from percert.search.deduplicate.groups import Evidence, FileGroups
from percert.search.deduplicate.journal import Journal, journal_of
from percert.search.tables.files import key_path, path_key

FORMAT = "percert plan 1"


@dataclass(frozen=True)
class PlannedFile:
    """A file as it must still be when the plan is applied; ``path`` is what a store calls it."""

    path: str
    bytes: int
    mtime_ns: int
    sha256: str

    @property
    def place(self) -> Path:
        """Where it lies."""
        return key_path(self.path)[0]


@dataclass(frozen=True)
class PlannedStep:
    """``file`` is a copy of ``keep``, by ``evidence``; where it is to be moved, ``to``."""

    file: PlannedFile
    keep: PlannedFile
    evidence: Evidence
    distance: float
    radius: float | None
    to: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be done with each copy. Nothing has been done yet."""

    action: Action
    steps: tuple[PlannedStep, ...]
    made: str = ""

    @property
    def bytes(self) -> int:
        """The bytes of all files that the plan acts on."""
        return sum(step.file.bytes for step in self.steps)


def make_plan(groups: FileGroups, action: Action, to: str | os.PathLike[str] | None = None) -> Plan:
    """The plan for the copies of ``groups``; ``to`` is the folder that ``"move"`` takes them to.

    There each keeps its path from the folder that holds them all. Hard links are planned for files
    of the same bytes alone. Raises ``ValueError`` for another action, and for a ``to`` that is
    missing or has no use.
    """
    if action not in ACTIONS:
        raise ValueError(f"action: expected one of {', '.join(ACTIONS)}, found {action!r}")
    if (action == "move") != (to is not None):
        wanted = "expected a folder to move to" if to is None else f"is not for {action}"
        raise ArgumentError(Argument("to"), f": {wanted}")
    chosen = [
        (group.keep, copy)
        for group in groups.groups
        for copy in group.copies
        if action != "hardlink" or copy.evidence == "identical"
    ]
    common = _common_folder([copy.file.place for _, copy in chosen])
    steps = tuple(
        PlannedStep(
            _planned(copy.file),
            _planned(keep),
            copy.evidence,
            copy.distance,
            copy.radius,
            None if to is None else path_key(Path(to) / copy.file.place.relative_to(common)),
        )
        for keep, copy in chosen
    )
    return Plan(action, steps, datetime.now(timezone.utc).isoformat(timespec="seconds"))


def _planned(file: StoredFile) -> PlannedFile:
    return PlannedFile(file.path, file.bytes, file.mtime_ns, file.id)


def _common_folder(places: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([place.parent for place in places])) if places else Path("/")


def write_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write ``plan`` to ``path``, whole or not at all.

    Raises ``ValueError`` where ``path`` is a plan that was applied, and could not be undone then.
    """
    from percert.reports.table import finite

    journal = Journal(journal_of(path), None)
    if journal.in_use:
        raise ValueError(f"{path}: was applied; undo or purge it, or give the plan another name")
    journal.path.unlink(missing_ok=True)
    told = finite({"format": FORMAT, **asdict(plan)})
    write_whole(path, json.dumps(told, indent=2, allow_nan=False) + "\n")


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """The plan in the file ``path``: what :func:`write_plan` wrote, perhaps with steps taken out.

    Raises ``ValueError`` for what is no plan, and for one that would act on a file twice, or on one
    that it keeps.
    """
    try:
        text = Path(path).read_text("utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a plan, for it is no text") from None
    try:
        told: Any = json.loads(text)
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise ValueError(f'expected "format": "{FORMAT}"')
        plan = Plan(told["action"], tuple(map(_step, told["steps"])), str(told.get("made", "")))
    except (ValueError, TypeError, KeyError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: not a plan that can be read ({what})") from None
    _check(plan, path)
    return plan


def _step(told: Any) -> PlannedStep:
    return PlannedStep(**{**told, "file": _file(told["file"]), "keep": _file(told["keep"])})


def _file(told: Any) -> PlannedFile:
    found = PlannedFile(**told)
    texts = isinstance(found.path, str) and isinstance(found.sha256, str)
    if not texts or not isinstance(found.bytes, int) or not isinstance(found.mtime_ns, int):
        raise ValueError("a file has a path, bytes, mtime_ns and sha256")
    if not os.path.isabs(found.place):
        raise ValueError(f"expected a path in full, found {found.path!r}")
    return found


def _check(plan: Plan, path: str | os.PathLike[str]) -> None:
    if plan.action not in ACTIONS:
        raise ValueError(f"{path}: expected one of {', '.join(ACTIONS)}, found {plan.action!r}")
    kept = {_in_real_folder(step.keep.place) for step in plan.steps}
    seen: set[Path] = set()
    targets: set[str] = set()
    for step in plan.steps:
        place = _in_real_folder(step.file.place)
        if place in kept:
            raise ValueError(f"{path}: would act on {step.file.path}, which it keeps")
        if place in seen:
            raise ValueError(f"{path}: names {step.file.path} twice")
        seen.add(place)
        if plan.action == "move":
            if not isinstance(step.to, str) or not os.path.isabs(key_path(step.to)[0]):
                raise ValueError(f"{path}: does not say in full where to move {step.file.path}")
            if step.to in targets:
                raise ValueError(f"{path}: moves two files to {step.to}")
            targets.add(step.to)
        if plan.action == "hardlink" and step.file.sha256 != step.keep.sha256:
            raise ValueError(f"{path}: {step.file.path} has other bytes than {step.keep.path}")


def _in_real_folder(path: Path) -> Path:
    """The name of a file where its folder really is; a link that took its place is not followed."""
    return Path(os.path.realpath(path.parent), path.name)
