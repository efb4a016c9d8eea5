"""The items by name, and running them: each in its own folder, kept when it is through."""

import importlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from experiments.papers.digests import vouched
from experiments.papers.hpot.catalog import HPOT_ITEMS
from experiments.papers.item import (
    COMMAND,
    Compared,
    Findings,
    MissingDataError,
    PaperItem,
    Setting,
    StandIn,
)
from experiments.papers.lipsim.catalog import LIPSIM_ITEMS
from percert.check import did_you_mean, one_line
from percert.files import write_whole
from percert.reports import read_run, write_records, write_run
from percert.reports.page import Figure, rerun

CATALOG: dict[str, PaperItem] = {item.name: item for item in (*LIPSIM_ITEMS, *HPOT_ITEMS)}


def find_item(name: str) -> PaperItem:
    """The item called ``name``. Raises ``ValueError`` for one that is not known.

    >>> find_item("lipsim-table2").state
    'offline'
    """
    if name not in CATALOG:
        near = did_you_mean(name, CATALOG)
        raise ValueError(
            f"papers: no table or figure called {name!r}{near} {' '.join(COMMAND)} list names them"
        )
    return CATALOG[name]


_COLUMNS = {
    "item": str,
    "what": str,
    "paper": float,
    "measured": float,
    "deviation": float,
    "unit": str,
}


State: TypeAlias = Literal["made", "data missing", "failed", "not offline"]


@dataclass(frozen=True)
class PaperOutcome:
    """What became of an item: ``findings`` where it was made, else ``reason`` says why not.

    ``command`` is that which made it, of ``images`` photographs; ``written`` is when that was, and
    ``commit`` at which commit.
    """

    item: PaperItem
    state: State
    findings: Findings | None = None
    reason: str = ""
    seconds: float = 0.0
    command: str = ""
    written: str = ""
    commit: str = ""
    images: int = 0


def run_item(
    item: PaperItem, setting: Setting, *, command: list[str] | None = None
) -> PaperOutcome:
    """Make ``item`` in ``setting.out``/NAME, or take what an earlier run of the same settings left.

    There go ``records.parquet`` (the numbers), ``findings.json``, the figures as PNG and
    ``run.json``. Data that are missing, and whatever the item's own code refuses, is an outcome and
    no exception.
    """
    if not item.run:
        return PaperOutcome(item, "not offline", reason=item.how)
    own = replace(setting, out=setting.out / item.name)
    settings = _settings(own)
    if is_finished(item, setting):
        kept = kept_outcome(item, setting.out)
        assert kept is not None  # it is finished
        return kept
    began = time.perf_counter()
    try:
        findings = _finite(_function(item)(own))
    except MissingDataError as error:
        # What cannot be made from the small data is not missed there.
        missing: State = "data missing" if item.offline else "not offline"
        return PaperOutcome(item, missing, reason=str(error))
    except ModuleNotFoundError as error:
        return PaperOutcome(item, "data missing", reason=f"needs the package {error.name}")
    except ValueError as error:
        return PaperOutcome(item, "failed", reason=one_line(error, 1000))
    seconds = time.perf_counter() - began
    _write(own.out, item, findings)
    write_run(
        own.out,
        command=command or [*COMMAND, item.name],
        settings=settings,
        seed=own.seed,
        device=own.device,
        seconds=seconds,
        finished=True,
    )
    made = kept_outcome(item, setting.out)
    assert made is not None  # it was just written
    return made


def is_finished(item: PaperItem, setting: Setting) -> bool:
    """Whether an earlier run of the same settings has left ``item`` in its folder."""
    own = replace(setting, out=setting.out / item.name)
    found = read_run(own.out)
    return (
        found is not None
        and bool(found.get("finished"))
        and found.get("settings") == _settings(own)
    )


def kept_outcome(item: PaperItem, out: Path) -> PaperOutcome | None:
    """What an earlier run, of whatever settings, has left of ``item`` in its folder in ``out``."""
    found = read_run(out / item.name)
    if found is None or not found.get("finished"):
        return None
    return PaperOutcome(
        item,
        "made",
        _read(out / item.name),
        seconds=float(found.get("seconds", 0.0)),
        command=rerun(found),
        written=str(found.get("written") or ""),
        commit=str(found.get("commit") or ""),
        images=int((found.get("settings") or {}).get("images") or 0),
    )


def with_what_takes_more(outcomes: Sequence[PaperOutcome]) -> list[PaperOutcome]:
    """Several outcomes, and those items of their papers that small data do not make.

    In some there is nothing to make, the others take a download.
    """
    if len(outcomes) < 2:
        return list(outcomes)
    there = {outcome.item.name: outcome for outcome in outcomes}
    for item in CATALOG.values():
        if not (item.run and item.offline) and any(
            outcome.item.paper == item.paper for outcome in outcomes
        ):
            there.setdefault(item.name, PaperOutcome(item, "not offline", reason=item.how))
    return [there[name] for name in CATALOG if name in there]


def run_offline(
    setting: Setting,
    *,
    items: Iterable[PaperItem] = tuple(CATALOG.values()),
    watch: Callable[[str], None] = lambda _: None,
) -> Iterator[PaperOutcome]:
    """Every item of ``items`` in turn: made where it can be, and else why not."""
    for item in items:
        if item.run:
            watch(item.name)
        yield run_item(item, setting)


def record_rows(outcomes: Iterable[PaperOutcome]) -> list[dict[str, Any]]:
    """The numbers of all outcomes as rows of records."""
    return [
        {
            "item": outcome.item.name,
            "what": row.what,
            "paper": row.paper,
            "measured": row.measured,
            "deviation": outcome.findings.deviation(row),
            "unit": row.unit,
        }
        for outcome in outcomes
        if outcome.findings is not None
        for row in outcome.findings.rows
    ]


def write_rows(path: Path, outcomes: Iterable[PaperOutcome]) -> None:
    """The numbers of ``outcomes`` as a parquet file."""
    rows = [
        {
            name: float(row[name]) if kind is float and row[name] is not None else row[name]
            for name, kind in _COLUMNS.items()
        }
        for row in record_rows(outcomes)
    ]
    write_records(path, rows, _COLUMNS)


def _finite(findings: Findings) -> Findings:
    """``findings`` with numbers that do not exist, such as a mean of nothing, as ``None``."""
    rows = tuple(
        row if row.measured is None or math.isfinite(row.measured) else replace(row, measured=None)
        for row in findings.rows
    )
    return replace(findings, rows=rows)


def _settings(setting: Setting) -> dict[str, Any]:
    return {
        "data": None if setting.data is None else str(setting.data.resolve()),
        "weights": None if setting.weights is None else str(setting.weights.resolve()),
        "images": setting.images,
        "seed": setting.seed,
        "autoattack": setting.autoattack,
        "there": _there(setting),
    }


def _there(setting: Setting) -> list[str]:
    """What the data folder has: what comes to it later may make an item the paper's own."""
    if setting.data is None:
        return []
    places = (setting.data, setting.data / "weights")
    names = [path.relative_to(setting.data).as_posix() for one in places for path in one.glob("*")]
    return sorted([*names, *vouched(setting)])


def _function(item: PaperItem) -> Callable[[Setting], Findings]:
    module, _, name = item.run.partition(":")
    function: Callable[[Setting], Findings] = getattr(importlib.import_module(module), name)
    return function


def _write(folder: Path, item: PaperItem, findings: Findings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for place, figure in enumerate(findings.figures, 1):
        write_whole(folder / f"figure-{place}.png", figure.png)
        pictures.append({"caption": figure.caption, "alt": figure.alt})
    write_rows(folder / "records.parquet", [PaperOutcome(item, "made", findings)])
    found = {
        "rows": [asdict(row) for row in findings.rows],
        "differs": list(findings.differs),
        "stands": [asdict(stand) for stand in findings.stands],
        "figures": pictures,
    }
    text = json.dumps(found, indent=2, allow_nan=False) + "\n"
    write_whole(folder / "findings.json", text.encode())


def _read(folder: Path) -> Findings:
    path = folder / "findings.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Findings(
            tuple(Compared(**row) for row in found["rows"]),
            tuple(found["differs"]),
            tuple(
                Figure((folder / f"figure-{place}.png").read_bytes(), **said)
                for place, said in enumerate(found["figures"], 1)
            ),
            tuple(StandIn(**stand) for stand in found["stands"]),
        )
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path}: not what a run left there ({error}); give another --out"
        ) from None
