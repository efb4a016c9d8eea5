"""The tables and figures of both papers, by name."""

import difflib

from percert.reproduce.catalog_hpot import HPOT_ITEMS
from percert.reproduce.catalog_lipsim import LIPSIM_ITEMS
from percert.reproduce.item import Item

CATALOG: dict[str, Item] = {item.name: item for item in (*LIPSIM_ITEMS, *HPOT_ITEMS)}


def find_item(name: str) -> Item:
    """The item called ``name``. Raises ``ValueError`` for one that is not known.

    >>> find_item("lipsim-table2").state
    'offline'
    """
    if name not in CATALOG:
        near = difflib.get_close_matches(name, CATALOG, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"reproduce: no table or figure called {name!r}{hint} percert reproduce list names them"
        )
    return CATALOG[name]
