"""The papers' printed numbers, of ``printed.toml`` beside this file, as the items take them."""

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PRINTED: dict[str, Any] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
_LIPSIM, _HPOT = _PRINTED["lipsim"], _PRINTED["hpot"]


def _by_number(table: dict[str, Any]) -> dict[float, Any]:
    return {float(key): value for key, value in table.items()}


#: By model: the natural score, and those under attack by eps.
LIPSIM_TABLE_1: dict[str, tuple[float, dict[float, float]]] = {
    name: (found["natural"], _by_number(found["l2"])) for name, found in _LIPSIM["table1"].items()
}
#: By model: the natural score, and the certified ones by the radius in 255ths.
LIPSIM_TABLE_2: dict[str, tuple[float, dict[int, float]]] = {
    name: (
        found["natural"],
        {int(level): score for level, score in found["certified"].items()},
    )
    for name, found in _LIPSIM["table2"].items()
}
#: By model: the natural score, and by eps those under AutoAttack and under PGD.
LIPSIM_TABLE_3: dict[str, tuple[float, dict[float, float], dict[float, float]]] = {
    name: (found["natural"], _by_number(found["autoattack"]), _by_number(found["pgd"]))
    for name, found in _LIPSIM["table3"].items()
}
LIPSIM_TABLE_4: dict[str, tuple[float, float, float]] = {
    name: tuple(scores) for name, scores in _LIPSIM["table4"].items()
}
LIPSIM_FIGURE_3B: dict[str, float] = _LIPSIM["figure3b"]
HPOT_TABLE_1: dict[str, tuple[float, float, float, float]] = {
    name: tuple(row) for name, row in _HPOT["table1"].items()
}
HPOT_TABLE_1_PERCEPTUAL: dict[str, tuple[float, float]] = {
    name: tuple(row) for name, row in _HPOT["table1_perceptual"].items()
}
HPOT_TABLE_2: dict[str, tuple[float, float, float, float]] = {
    name: tuple(row) for name, row in _HPOT["table2"].items()
}
HPOT_TABLE_3: dict[float, tuple[float, float, float, float, float]] = {
    value: tuple(row) for value, row in _by_number(_HPOT["table3"]).items()
}
HPOT_TABLE_4: dict[float, tuple[float, float, float, float, float]] = {
    value: tuple(row) for value, row in _by_number(_HPOT["table4"]).items()
}
HPOT_TABLE_5: dict[str, float] = _HPOT["table5"]
HPOT_TABLE_6: dict[str, float] = _HPOT["table6"]
HPOT_SECTION_4: dict[str, Any] = _HPOT["section4"]
HPOT_FIGURE_13: dict[str, int] = _HPOT["figure13"]
