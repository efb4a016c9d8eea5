"""The tables and figures of the two papers, made again.

``catalog`` names all of them and what they take; ``run`` makes those that can be made from small
data, and puts the paper's numbers beside the measured ones. It calls what the rest of the package
has, and measures nothing of its own.

>>> from percert.reproduce import CATALOG
>>> CATALOG["hpot-section4"].state
'offline'
"""

from percert.reproduce.catalog import CATALOG, find_item
from percert.reproduce.item import Compared, Findings, Item, MissingDataError, Need, Setting
from percert.reproduce.run import Outcome, run_item, run_offline

__all__ = [
    "CATALOG",
    "Compared",
    "Findings",
    "Item",
    "MissingDataError",
    "Need",
    "Outcome",
    "Setting",
    "find_item",
    "run_item",
    "run_offline",
]
