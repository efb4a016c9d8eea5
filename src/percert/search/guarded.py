"""Tables of LanceDB, whose every failure names the store in one line."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any, final

from percert.check import one_line

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


@final
class Guarded:
    """An object of LanceDB (a table, a query, a merge), used as it is, under :func:`store_errors`.

    What its methods return is guarded as well, where it is LanceDB's or reads as it goes.
    """

    def __init__(self, inner: Any, path: str) -> None:
        self._inner = inner
        self._path = path

    def __getattr__(self, name: str) -> Any:
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
