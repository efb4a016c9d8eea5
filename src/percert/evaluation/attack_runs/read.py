"""Reading attack runs from the disk, one or several together, and their ablations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from percert.attacks import parse_attack
from percert.registry import join_settings, split_settings
from percert.reports.records import SHARDS, read_records, read_run
from percert.runs import DISTANCES

#: The file of a run that holds its rows.
RECORDS = "records.parquet"
#: What a row must have to be compared with others.
NEEDED = ("image", "attack", "attacked", "success", "success_8bit", "seconds", "model_calls")


@dataclass(frozen=True)
class AttackRuns:
    """One or several runs of ``percert attack``.

    Each row has, beside the columns of its records: ``attack`` such that no two runs share it,
    ``spec`` as it was given to the run, ``run`` (the folder), ``source`` (what was attacked) and
    ``weights`` (a hash of its weights), ``towards`` (whether a class was aimed at), ``demand`` (the
    run's confidence), and ``path``, the attacked image's file, ``None`` where the run kept none.

    ``goal`` is what they were after, ``images`` the folder or file that they attacked, where they
    agree, and ``over`` the column that says which rows are measured: ``"success_8bit"``, or
    ``"attacked"`` for a goal without an end. ``own_distances``: those that every run measured.
    """

    folders: tuple[Path, ...]
    rows: list[dict[str, Any]]
    goal: str
    images: Path | None
    over: str
    own_distances: tuple[str, ...] = ()

    @property
    def attacks(self) -> list[str]:
        """The attacks, in the order of the runs."""
        return list(dict.fromkeys(row["attack"] for row in self.rows))


def read_attack_runs(folders: Sequence[Path]) -> AttackRuns:
    """The runs in ``folders``, finished or not.

    An attack that two runs have is told apart by the run's confidence, or else by its folder.
    Raises ``ValueError`` for a folder without records, and for runs after different things.
    """
    if not folders:
        raise ValueError("runs: expected at least one folder of percert attack, found none")
    found = [_read(Path(folder)) for folder in folders]
    goals = sorted({run.goal for run in found})
    if len(goals) > 1:
        raise ValueError(f"runs: expected one goal, found {' and '.join(goals)}")
    names = _names(found)
    rows = [
        {
            **row,
            "spec": row["attack"],
            "attack": names[place, row["attack"]],
            "run": str(run.folder),
            "source": run.source,
            "towards": run.towards,
            "demand": run.demand,
            "weights": run.settings.get("weights_sha256"),
            "path": None if row.get("file") is None else str(run.folder / row["file"]),
        }
        for place, run in enumerate(found)
        for row in run.rows
    ]
    places = {run.images for run in found}
    return AttackRuns(
        folders=tuple(run.folder for run in found),
        rows=rows,
        goal=goals[0],
        images=places.pop() if len(places) == 1 else None,
        over="attacked" if all(run.endless for run in found) else "success_8bit",
        own_distances=tuple(
            name for name in found[0].distances if all(name in run.distances for run in found)
        ),
    )


@dataclass(frozen=True)
class _Run:
    folder: Path
    rows: list[dict[str, Any]]
    settings: dict[str, Any]

    @property
    def goal(self) -> str:
        return str(self.settings.get("goal", "classifier"))

    @property
    def source(self) -> str:
        return str(self.settings.get("model") or self.settings.get("metric") or "")

    @property
    def towards(self) -> bool:
        return self.settings.get("targets") is not None

    @property
    def demand(self) -> float:
        return float(self.settings.get("confidence") or 0.0)

    @property
    def images(self) -> Path | None:
        named = self.settings.get("images")
        return None if named is None else Path(named)

    @property
    def distances(self) -> list[str]:
        names = dict.fromkeys((*DISTANCES, *self.settings.get("metrics", ())))
        return [name for name in names if all(name in row for row in self.rows)]

    @property
    def endless(self) -> bool:
        return self.goal == "embedding" and self.settings.get("beyond") is None


def _read(folder: Path) -> _Run:
    while True:
        parts = [folder / RECORDS, *sorted((folder / SHARDS).glob("*.parquet"))]
        parts = [path for path in parts if path.exists()]
        if not parts:
            raise ValueError(f"{folder}: no {RECORDS} in it; expected a folder of percert attack")
        try:
            rows = _merged(parts)
            break
        except ValueError:
            if all(path.exists() for path in parts):
                raise
            # The run has merged its parts in the meantime: they are elsewhere now.
    return _Run(folder.resolve(), rows, (read_run(folder) or {}).get("settings", {}))


def _merged(parts: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of all files; of two for one image and attack the later one."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for path in parts:
        for row in read_records(path):
            missing = [name for name in NEEDED if name not in row]
            if missing:
                raise ValueError(f"{path}: not records of percert attack, no column {missing[0]!r}")
            rows[row["image"], row["attack"]] = row
    return list(rows.values())


def _names(runs: Sequence[_Run]) -> dict[tuple[int, str], str]:
    """What each attack of each run is called, by the run's place and the attack as given."""
    given = {(place, row["attack"]): run for place, run in enumerate(runs) for row in run.rows}
    if len(runs) == 1:
        return {key: key[1] for key in given}

    def shared(names: dict[tuple[int, str], str]) -> set[str]:
        return {name for name, count in Counter(names.values()).items() if count > 1}

    names = {key: key[1] for key in given}
    twice = shared(names)
    for key, run in given.items():
        if names[key] in twice and run.demand:
            names[key] += f" (a = {run.demand:g})"
    twice = shared(names)
    for key, run in given.items():
        if names[key] in twice:
            names[key] += f" [{run.folder.name}]"
    twice = shared(names)
    for key, run in given.items():
        if names[key] in twice:  # folders of the same name
            names[key] = f"{key[1]} [{run.folder}]"
    return names


@dataclass(frozen=True)
class Ablation:
    """Attacks of one ``name`` that differ in ``option`` alone: (its value, the attack)."""

    name: str
    option: str
    attacks: tuple[tuple[Any, str], ...]


def ablations(specs: Mapping[str, str]) -> list[Ablation]:
    """The ablations among attacks, ``specs`` being their texts by what they are called.

    Settings that a text does not give have their defaults. A text that is no attack of the catalog
    is left out.

    >>> (found,) = ablations({"ascent": "ascent", "long": "ascent:steps=9", "pgd": "pgd"})
    >>> found.option, found.attacks
    ('steps', ((100, 'ascent'), (9, 'long')))
    """
    by_name: dict[str, dict[str, dict[str, Any]]] = {}
    for called, spec in specs.items():
        try:
            name, attack = parse_attack(spec)
        except ValueError:
            continue
        settings: Any = attack
        by_name.setdefault(name, {})[called] = {
            field.name: getattr(settings, field.name) for field in fields(settings)
        }
    found = []
    for name, attacks in by_name.items():
        for option in next(iter(attacks.values())):
            groups: dict[str, dict[Any, str]] = {}
            for called, settings in attacks.items():
                others = repr(sorted((k, repr(v)) for k, v in settings.items() if k != option))
                groups.setdefault(others, {}).setdefault(settings[option], called)
            found += [
                Ablation(name, option, tuple(values.items()))
                for values in groups.values()
                if len(values) > 1
            ]
    return found


def family(spec: str) -> tuple[str, float]:
    """An attack's text without its ``confidence``, and that confidence.

    Attacks of one family that differ in it make a curve of cost against survival.

    >>> family("human-perc-ot:confidence=5,steps=9")
    ('human-perc-ot:steps=9', 5.0)
    """
    name, settings = split_settings(spec)
    try:
        confidence = float(settings["confidence"])
    except (KeyError, ValueError):
        return spec, 0.0
    del settings["confidence"]
    return join_settings(name, settings), confidence
