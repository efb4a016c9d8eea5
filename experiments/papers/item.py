"""A table or figure of a paper: what it takes to make it again, and what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from percert.reports.page import Figure

PaperName = Literal["lipsim", "hpot"]

AutoAttackKind = Literal["short", "authors", "standard"]

#: How a checkout runs the items.
COMMAND = ("python", "-m", "experiments", "papers")

#: What the papers are called in full.
PAPERS: dict[PaperName, str] = {
    "lipsim": "LipSim: A Provably Robust Perceptual Similarity Metric (ICLR 2024)",
    "hpot": "Human Imperceptible Attacks and Applications to Improve Fairness",
}
#: What is written where nobody knows.
UNKNOWN = "unknown"

#: Is told what is being done, how much of it is done, and how much there is.
Watch: TypeAlias = Callable[[str, int, int], None]


def _silent(what: str, done: int, total: int) -> None:
    del what, done, total


@dataclass(frozen=True)
class Need:
    """Something that has to be downloaded or put somewhere.

    ``address`` and ``size`` are those that the papers give, or ``"unknown"``. ``place`` says where
    it goes, or with which option it is named.
    """

    what: str
    place: str
    address: str = UNKNOWN
    size: str = UNKNOWN


@dataclass(frozen=True)
class Setting:
    """How an item is run. ``out`` is the item's own folder, in that of the whole run.

    ``data`` holds the folders that items name; ``weights`` is the file of SqueezeNet 1.0's weights.
    ``images`` bounds how many photographs, digits or triplets are used. ``autoattack`` says what
    LipSim's tables are made with: ``"short"`` its two strongest parts in few steps, ``"authors"``
    what its authors ran, ``"standard"`` all four parts. ``watch`` is told how far an item is.
    """

    out: Path
    data: Path | None = None
    weights: Path | None = None
    images: int = 4
    seed: int = 0
    device: str = "cpu"
    autoattack: AutoAttackKind = "short"
    watch: Watch = field(default=_silent, compare=False, repr=False)


@dataclass(frozen=True)
class Compared:
    """One number of the paper beside the one measured; ``None`` where there is no such number.

    ``own``: this row is the paper's own even where others of its table are not.
    """

    what: str
    paper: float | None
    measured: float | None
    unit: str = ""
    own: bool = False

    @property
    def deviation(self) -> float | None:
        """Measured less the paper's.

        >>> Compared("natural score", 85.09, 90.0, "%").deviation.__round__(2)
        4.91
        """
        if self.paper is None or self.measured is None:
            return None
        return self.measured - self.paper


@dataclass(frozen=True)
class StandIn:
    """Something of the paper's that was not taken, and what was taken in its place."""

    paper: str
    here: str


#: What is said of an item that does not say what stands for what.
OTHERS = (StandIn("networks, images and attacks", "others, as said below"),)


def stands_of(*found: StandIn | Sequence[StandIn | None] | None) -> tuple[StandIn, ...]:
    """All of ``found`` that there are, each once.

    >>> stands_of(None, StandIn("a", "b"), [StandIn("a", "b"), None])
    (StandIn(paper='a', here='b'),)
    """
    flat = [one for some in found for one in (some if isinstance(some, Sequence) else [some])]
    return tuple(dict.fromkeys(one for one in flat if one is not None))


@dataclass(frozen=True)
class Findings:
    """What came of an item. ``differs`` are the sentences on why numbers need not agree.

    ``stands`` has everything that is not the paper's: data, weights, counts, or a step of the
    procedure. Where there is nothing, and nowhere else, it is the paper's own, and numbers have to
    agree with those that it prints.
    """

    rows: tuple[Compared, ...]
    differs: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    stands: tuple[StandIn, ...] = OTHERS

    @property
    def same(self) -> bool:
        """Whether it is the paper's own quantity, on its data, with its weights and procedure.

        >>> Findings(()).same, Findings((), stands=()).same
        (False, True)
        """
        return not self.stands

    @property
    def partly(self) -> bool:
        """Whether some rows are the paper's own."""
        return any(row.own for row in self.rows)

    def deviation(self, row: Compared) -> float | None:
        """That of one of the rows; ``None`` of a stand-in: another quantity was measured.

        >>> one = Compared("natural score", 85.0, 90.0, "%")
        >>> Findings((one,)).deviation(one), Findings((one,), stands=()).deviation(one)
        (None, 5.0)
        """
        return row.deviation if self.same or row.own else None


@dataclass(frozen=True)
class PaperItem:
    """One table or figure. ``run`` names a function from ``Setting`` to ``Findings``, if any.

    ``offline`` says what is run on the small data, and is empty where that would say nothing.
    ``shows`` says in one sentence what a stand-in shows, and what it cannot. ``needs`` is what the
    paper's own version takes. ``how`` says how to make that with percert, or why there is nothing
    to make.
    """

    name: str
    paper: PaperName
    title: str
    how: str
    needs: tuple[Need, ...] = ()
    offline: str = ""
    run: str = ""
    needs_offline: tuple[Need, ...] = field(default=())
    shows: str = ""

    @property
    def state(self) -> Literal["offline", "needs data", "nothing to run"]:
        """What can be done about it."""
        if self.offline:
            return "offline"
        return "needs data" if self.needs else "nothing to run"


class MissingDataError(ValueError):
    """Data of an item that are not there; the message says what to put where."""


def data_folder(setting: Setting, name: str, what: str) -> Path:
    """The folder ``name`` of the setting's data.

    Raises :class:`MissingDataError` where it is not there.
    """
    if setting.data is None:
        raise MissingDataError(f"needs {what}: name the folder that holds {name}/ with --data")
    folder = setting.data / name
    if not folder.exists():
        raise MissingDataError(f"needs {what}: put it into {folder}")
    return folder


def weights_file(setting: Setting) -> Path:
    """SqueezeNet 1.0's weights. Raises :class:`MissingDataError` where they are not there."""
    name = "squeezenet1_0-imagenet.safetensors"
    places = [setting.weights] if setting.weights is not None else []
    if not places and setting.data is not None:
        folders = (setting.data, setting.data / "weights", setting.data.parent / "weights")
        places = [folder / name for folder in folders]
    for place in places:
        if place.is_file():
            return place
    found = f", looked for {' and '.join(map(str, places))}" if places else ""
    raise MissingDataError(
        f"needs the weights of SqueezeNet 1.0, {name}: name the file with --weights{found}"
    )
