"""What adding is told, and what it tells."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from percert.search.ingest.views import Prepared
from percert.search.tables.schema import FileRow, ImageRow

DecodeIn: TypeAlias = Literal["threads", "processes"]


@dataclass(frozen=True)
class AddOutcome:
    """What became of one image: of the file or row ``path``, with the content ``id``.

    ``what`` is ``"added"``: embedded and stored; ``"duplicate"``: its bytes are stored already,
    and ``path`` beside them; ``"moved"``: they are stored under ``was``, which is not there any
    more, and under ``path`` from now on; ``"unchanged"``: stored before under this path;
    ``"bad"``: not stored, for ``reason``. What is not bad is on disk when this is handed out.
    """

    path: str
    what: Literal["added", "moved", "duplicate", "unchanged", "bad"]
    id: str | None = None
    reason: str | None = None
    was: str | None = None


@dataclass(frozen=True)
class AddSettings:
    """How adding works; what is stored is the same whatever these are.

    ``decoders`` (by default one a core) in ``decode_in`` (by default threads up to 4, processes
    beyond); ``batch`` images go through the network at once; they are committed after
    ``commit_images`` of them or ``commit_seconds``. An image that takes more than
    ``max_memory`` bytes to decode is bad (:func:`percert.images.load_image` says what is usual).
    """

    decoders: int | None = None
    decode_in: DecodeIn | None = None
    batch: int = 64
    commit_images: int = 1024
    commit_seconds: float = 10.0
    max_memory: int | None = None


@dataclass
class StageSeconds:
    """Seconds spent in each stage. Reading, decoding and resizing are sums over all workers.

    ``waiting`` is how long the network had nothing to do because decoding was behind.
    """

    reading: float = 0.0
    decoding: float = 0.0
    resizing: float = 0.0
    network: float = 0.0
    committing: float = 0.0
    waiting: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class AddStep:
    """An outcome, and what must be on disk before it is handed out.

    ``prepared`` is an image still to be embedded, ``image`` one that is, ``file`` its file;
    ``replaced`` the id that the file held before, ``left`` files that held the image and are gone.
    """

    outcome: AddOutcome
    prepared: Prepared | None = None
    image: ImageRow | None = None
    file: FileRow | None = None
    replaced: str | None = None
    left: tuple[str, ...] = ()
