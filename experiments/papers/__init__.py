"""The tables and figures of the two papers, made again.

``catalog`` names all of them and what they take; ``run`` makes those that can be made from small
data, and puts the paper's numbers beside the measured ones. It calls what the rest of the package
has, and measures nothing of its own.

>>> from experiments.papers import CATALOG
>>> CATALOG["hpot-section4"].state
'offline'
"""

from experiments.papers.item import Compared, Findings, MissingDataError, Need, PaperItem, Setting
from experiments.papers.run import CATALOG, PaperOutcome, find_item, run_item, run_offline

__all__ = [
    "CATALOG",
    "Compared",
    "Findings",
    "MissingDataError",
    "Need",
    "PaperItem",
    "PaperOutcome",
    "Setting",
    "find_item",
    "run_item",
    "run_offline",
]
