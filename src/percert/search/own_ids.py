"""The user's own ids of images: kept for each file or row, and returned in answers."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from percert.search.tables.location import named_table, persist, write_table, writing
from percert.search.tables.schema import is_one_of

#: The table of a store: ``path`` as the store calls a file or a row, and its ``own_id``.
TABLE = "own_ids"


def keep_own_ids(store: str, own_ids: Mapping[str, str]) -> None:
    """Keep the user's own id of each file or row of ``store``; it replaces an older one."""
    if not own_ids:
        return
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    text = pa.string()
    schema = pa.schema([pa.field("path", text, nullable=False), pa.field("own_id", text)])
    rows = pa.table([list(own_ids), list(own_ids.values())], schema=schema)
    with writing(store):
        table = named_table(store, TABLE)
        if table is None:
            write_table(store, TABLE, rows)
            return
        merge = table.merge_insert("path").when_matched_update_all().when_not_matched_insert_all()
        persist(partial(merge.execute, rows))


def follow_moves(store: str, moves: Mapping[str, str]) -> None:
    """Give renamed files (``moves`` are earlier names by new ones) the own ids that they had.

    A file with an own id under its new name keeps that one.
    """
    names = own_ids_of(store, [*moves, *moves.values()]) if moves else None
    if names:
        kept = {new: names[was] for new, was in moves.items() if was in names and new not in names}
        keep_own_ids(store, kept)


def own_ids_of(store: str, paths: Iterable[str]) -> dict[str, str] | None:
    """The own ids of those of ``paths`` that have one; ``None`` for a store that keeps none."""
    table = named_table(store, TABLE)
    if table is None:
        return None
    found: dict[str, str] = {}
    for condition in is_one_of("path", dict.fromkeys(paths)):
        rows = table.search().where(condition).select(["path", "own_id"]).to_arrow()
        found.update(zip(rows["path"].to_pylist(), rows["own_id"].to_pylist(), strict=True))
    return found


def with_own_ids(answer: dict[str, Any], store: str) -> dict[str, Any]:
    """Add own ids beside the paths of ``answer``, ready for JSON, if the store keeps any.

    Beside a list ``paths`` stands ``own_ids``, in its order; beside ``path``, ``first_path`` and
    ``second_path`` stand ``own_id``, ``first_own_id`` and ``second_own_id``. ``None`` is for a file
    without one.
    """
    names = own_ids_of(store, _paths_in(answer))
    if names is None:
        return answer
    told: dict[str, Any] = _named(answer, names)
    return told


def _paths_in(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for key, entry in value.items():
            if key == "paths":
                yield from entry
            elif isinstance(entry, str) and (key == "path" or key.endswith("_path")):
                yield entry
            else:
                yield from _paths_in(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _paths_in(entry)


def _named(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        told: dict[str, Any] = {}
        for key, entry in value.items():
            told[key] = entry if key == "paths" else _named(entry, names)
            if key == "paths":
                told["own_ids"] = [names.get(path) for path in entry]
            elif key == "path" or key.endswith("_path"):
                told[key.removesuffix("path") + "own_id"] = names.get(entry)
        return told
    if isinstance(value, list | tuple):
        return [_named(entry, names) for entry in value]
    return value
