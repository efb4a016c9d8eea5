"""Names of a package that load their module when they are first used."""

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, homes: Mapping[str, str | None]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of ``package``, whose names live in the modules ``homes``.

    A name whose home is ``None`` is a submodule. What is not among them raises ``AttributeError``.

    >>> get, names = lazy_names("percert", {"certify": None, "list_metrics": "percert.metrics"})
    >>> names(), get("list_metrics")()[0]
    (['certify', 'list_metrics'], 'lipsim-tiny')
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        if home is None:
            return import_module(f"{package}.{name}")
        return getattr(import_module(home), name)

    return get, lambda: sorted(homes)
