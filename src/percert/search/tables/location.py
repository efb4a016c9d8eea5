"""Opening the tables of a store at a path or address, its write lock, and retries of commits.

A store is a folder, or an address in an object store, with LanceDB tables: ``images``, ``files``,
``roots``, and ``background`` where it has one (:mod:`percert.search.tables.schema`).
"""

import contextlib
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

from percert.check import one_line
from percert.extras import install_extra
from percert.search.tables.schema import (
    StoreHeader,
    files_schema,
    images_schema,
    read_header,
    roots_schema,
)

#: How often a commit that another writer got ahead of is tried again.
ATTEMPTS = 20
T = TypeVar("T")
#: Where in its own source LanceDB failed: nothing for a reader of the message.
_PLACE = re.compile(r",?\s*/\S+\.rs:\d+:\d+")


class StoreError(ValueError):
    """The files of a store are damaged or gone, or cannot be written."""


@contextlib.contextmanager
def store_errors(path: str) -> Iterator[None]:
    """Raise :class:`StoreError` for what LanceDB and Arrow say of files."""
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

    try:
        yield
    except (RuntimeError, OSError, pa.ArrowException) as error:
        why = _PLACE.sub("", one_line(error, most=1000))[:200]
        raise StoreError(f"{path}: the store cannot be read or written ({why})") from error


#: What is called of a table without changing its version.
_READING = ("search", "count_rows", "schema", "stats", "list_indices", "take_offsets")


@final
class Guarded:
    """An object of LanceDB (a table, a query, a merge) whose errors become :class:`StoreError`.

    What its methods return is guarded as well, where it is LanceDB's or reads lazily. A table's
    ``version`` is cached until something is called that may change it: LanceDB answers from another
    thread, and every query of a store asks for it.
    """

    def __init__(self, inner: Any, path: str) -> None:
        self._inner = inner
        self._path = path
        self._version: int | None = None

    @property
    def version(self) -> int:
        if self._version is None:
            with store_errors(self._path):
                self._version = int(self._inner.version)
        return self._version

    def __getattr__(self, name: str) -> Any:
        if name not in _READING:
            self._version = None
        with store_errors(self._path):
            value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            with store_errors(self._path):
                return self._guard(value(*arguments, **options))

        return call

    def _guard(self, value: Any) -> Any:
        import pyarrow as pa

        if isinstance(value, pa.RecordBatchReader):
            return self._batches(value)
        return Guarded(value, self._path) if type(value).__module__.startswith("lancedb") else value

    def _batches(self, reader: Any) -> Iterator[Any]:
        with store_errors(self._path):
            yield from reader


#: Addresses of LanceDB that are no folders: nothing can be locked there, and commits alone keep
#: writers apart.
REMOTE = ("s3://", "gs://", "az://", "memory://")
LOCK = "percert.lock"
#: What LanceDB reads ahead of a query. By itself it takes up to 2 GiB, however small the blocks are
#: that it is asked for; whoever sets these in the environment decides.
READ_AHEAD = {
    "LANCE_DEFAULT_IO_BUFFER_SIZE": str(32 << 20),
    "LANCE_DEFAULT_FRAGMENT_READAHEAD": "1",
}
#: Seconds after which a writer that holds the lock is taken for stuck; a commit takes less than 1.
LOCK_TIMEOUT = 600
_TABLES = ("background", "files", "images", "own_ids", "partner", "roots")
_OURS = (*(f"{name}.lance" for name in _TABLES), LOCK)


@dataclass(frozen=True, eq=False)
class Tables:
    """The opened tables of the store at ``path``: what all that reads and writes them works on.

    ``images`` and ``files`` are tables of LanceDB, :class:`Guarded`, as they were when they were
    opened or last refreshed; ``header`` says from which metric and in which views.
    """

    path: str
    images: Any
    files: Any
    header: StoreHeader

    def refresh(self) -> None:
        """Show what others have added and removed meanwhile."""
        self.images.checkout_latest()
        self.files.checkout_latest()


def is_remote(path: str) -> bool:
    """Whether ``path`` is an address of an object store; ``ValueError`` for one of another kind.

    >>> is_remote("s3://bucket/photos"), is_remote("photos.store")
    (True, False)
    """
    if path.startswith(REMOTE):
        return True
    if "://" in path:
        raise ValueError(
            f"{path}: expected a folder or an address that begins with {', '.join(REMOTE)}"
        )
    return False


def is_store(path: str) -> bool:
    """Whether there is a store at ``path``; ``ValueError`` for a folder of something else."""
    if is_remote(path):
        return _open(_connect(path), "images") is not None
    folder = Path(path)
    if not folder.exists():
        return False
    _check_folder(folder, create=True)
    return _open(_connect(path), "images") is not None


def open_tables(path: str, new: StoreHeader | None = None, background: Any = None) -> Tables:
    """The tables of the store at ``path``.

    Where there is no store, one is made with the header ``new`` and the rows of ``background``, an
    Arrow table (:func:`percert.search.tables.schema.background_schema`). Raises ``ValueError``
    where there is none and ``new`` is ``None``, and for a folder of something else.
    """
    if not is_remote(path):
        _check_folder(Path(path), create=new is not None)
    connection = _connect(path)
    images = _open(connection, "images")
    if images is None:
        if new is None:
            raise ValueError(f"{path}: no store here; `percert index add` makes one")
        with writing(path):  # the folder is there by now: connecting makes it
            # The header comes last: a store that has one has all.
            files = connection.create_table("files", schema=files_schema(), exist_ok=True)
            if background is not None:
                write_table(path, "background", background)
            images = connection.create_table("images", schema=images_schema(new), exist_ok=True)
    else:
        files = _open(connection, "files")
    header = read_header(images.schema.metadata, path)
    if files is None:
        raise StoreError(f"{path}: a damaged store, its table of files is missing")
    return Tables(path, images, files, header)


def open_roots(path: str, *, create: bool = False) -> Any:
    """The table of the folders that were added to the store at ``path``.

    Where it is missing it is made if ``create`` is given; otherwise the result is ``None`` (stores
    that were made before there was one work as they are).
    """
    connection = _connect(path)
    if create:
        return connection.create_table("roots", schema=roots_schema(), exist_ok=True)
    return _open(connection, "roots")


def named_table(path: str, name: str) -> Any:
    """The table ``name`` of the store at ``path``, or ``None`` where it has none."""
    return _open(_connect(path), name)


def write_table(path: str, name: str, rows: Any) -> Any:
    """Make ``rows``, an Arrow table, the table ``name`` of the store, in place of what it was.

    The caller holds the store against other writers.
    """
    connection = _connect(path)
    # To overwrite what is not there makes LanceDB warn.
    mode = "create" if _open(connection, name) is None else "overwrite"
    return connection.create_table(name, rows, mode=mode)


def write_again(
    tables: Tables, batches: Iterable[Any], header: StoreHeader, background: Any
) -> None:
    """Replace all images by ``batches``, with another header and background.

    The images are replaced in one commit: killed before it, they are as they were. The background
    is written first, and is told from the old one by its hash. The caller holds the write lock. The
    batches are kept in a temporary file meanwhile, since LanceDB cannot read a table while it
    writes it.
    """
    import pyarrow as pa

    schema = images_schema(header)
    with tempfile.TemporaryDirectory() as folder:
        spilled = os.path.join(folder, "images.arrow")
        with pa.ipc.new_file(spilled, schema) as file:
            for batch in batches:
                file.write_batch(batch)
        connection = _connect(tables.path)
        if background is not None:
            write_table(tables.path, "background", background)
        with pa.memory_map(spilled) as source, pa.ipc.open_file(source) as held:
            every = (held.get_batch(at) for at in range(held.num_record_batches))
            connection.create_table("images", every, schema=schema, mode="overwrite")


def writing(path: str) -> AbstractContextManager[Any]:
    """Holds the store at ``path`` against other writers; readers are never held up.

    The lock is the operating system's: it goes with the process that holds it, however that ends.
    """
    if is_remote(path):
        return contextlib.nullcontext()
    return _locked(path)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    import filelock  # torch depends on it

    lock = filelock.FileLock(os.path.join(path, LOCK), timeout=LOCK_TIMEOUT)
    try:
        with lock:
            yield
    except filelock.Timeout:
        raise ValueError(
            f"{path}: another writer has held the store for {LOCK_TIMEOUT} s"
        ) from None


def persist(write: Callable[[], T]) -> T:
    """Run ``write()``, and again where LanceDB says that another writer's commit came first.

    Commits are all or nothing, and a row of a key that is there is never inserted again, so
    repeating one does no harm.
    """
    for attempt in range(ATTEMPTS):
        try:
            return write()
        except (OSError, RuntimeError, ValueError) as error:
            if not _overtaken(error) or attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 6)))
    raise AssertionError("unreachable")


def _overtaken(error: Exception) -> bool:
    text = str(error.__cause__ or error).lower()
    return "conflict" in text or "concurrent" in text or "too much contention" in text


def _connect(path: str) -> Any:
    try:
        for name, value in READ_AHEAD.items():  # LanceDB reads them once, at its first scan
            os.environ.setdefault(name, value)
        import lancedb
    except ImportError as error:
        raise ValueError(f"the index needs LanceDB: {install_extra('search')}") from error
    with store_errors(path):
        # Absolute, since LanceDB takes what stands before a colon for the scheme of an address.
        place = path if is_remote(path) else os.path.abspath(path)
        return Guarded(lancedb.connect(place), path)


def _open(connection: Any, name: str) -> Any:
    try:
        return connection.open_table(name)
    except ValueError as error:
        if "not found" in str(error).lower():
            return None
        raise


def _check_folder(folder: Path, create: bool) -> None:
    """Refuse what is not a store, so that none is made among somebody's photographs."""
    if not folder.exists():
        if not create:
            raise ValueError(f"{folder}: no store here; `percert index add` makes one")
        return
    if not folder.is_dir():
        raise ValueError(f"{folder}: a file, expected the folder of a store")
    names = os.listdir(folder)
    if any(name not in _OURS for name in names):
        other = next(name for name in sorted(names) if name not in _OURS)
        raise ValueError(f"{folder}: not a store, the folder holds {other!r}; name a new folder")
    # What is written through a link would land outside the store.
    for table in (folder, *(folder / name for name in names if name != LOCK)):
        for entry in os.scandir(table):
            if entry.is_symlink():
                raise ValueError(f"{entry.path}: a link; a store holds none")
