"""What the server was started with: limits, metrics, classifiers, and a store to search."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from percert.app.errors import RefusedRequest
from percert.check import Argument, ArgumentError
from percert.metrics.card import MetricCard
from percert.metrics.catalog import CATALOG, create_metric, metric_card, unknown_metric
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.metrics.metric import Metric

if TYPE_CHECKING:
    from percert.metrics.descriptor import Descriptor
    from percert.search import Store


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every limit of the server; what is above gets a 4xx answer that says why.

    ``upload_bytes`` is for all files of one request together, ``receive_seconds`` for its body to
    arrive, of which something must come every ``stall_seconds``; all requests together hold at
    most ``held_uploads`` times ``upload_bytes``. ``pixels`` is for one image; images that a
    classifier is attacked on are first reduced to ``attack_side`` pixels on their longer side.
    ``jobs`` attacks run at once, for at most ``job_seconds`` each, and ``waiting_jobs`` wait; what
    is asked otherwise is answered ``questions`` at a time within ``answer_seconds``, while
    ``waiting_questions`` wait; up to ``together`` of a store, asked alike, share one pass over it.
    The last ``kept_jobs`` results are kept, for ``kept_seconds``, and so are the files that answers
    of the pages were made of, ``kept_bytes`` of them. Of tables: ``rows``, ``columns``, ``groups``
    and ``models``. ``streams`` progress streams are open at once.

    >>> Limits(jobs=0)
    Traceback (most recent call last):
    ValueError: jobs: expected at least 1, found 0
    """

    upload_bytes: int = 32 * 2**20
    held_uploads: int = 8
    receive_seconds: float = 60.0
    stall_seconds: float = 10.0
    pixels: int = 16_000_000
    attack_side: int = 320
    questions: int = 2
    waiting_questions: int = 128
    together: int = 32
    answer_seconds: float = 60.0
    jobs: int = 1
    waiting_jobs: int = 8
    job_seconds: float = 120.0
    kept_jobs: int = 32
    kept_seconds: float = 1800.0
    kept_bytes: int = 256 * 2**20
    streams: int = 64
    rows: int = 200_000
    columns: int = 64
    groups: int = 1000
    models: int = 50

    def __post_init__(self) -> None:
        for one in fields(self):
            value, least = getattr(self, one.name), 0 if one.name.startswith("waiting") else 1
            if isinstance(value, float):
                if not value > 0:
                    raise ValueError(f"{one.name}: expected more than 0 seconds, found {value}")
            elif value < least:
                raise ValueError(f"{one.name}: expected at least {least}, found {value}")


DEFAULT = "lipsim-tiny"

_log = logging.getLogger("percert.app")


@dataclass(frozen=True)
class ClassifierSource:
    """The arguments of :func:`percert.models.load_classifier` for one classifier."""

    spec: str
    weights: Path | None = None


@dataclass(eq=False)
class Resources:
    """The metrics, classifiers and store of the server; each worker process loads those it needs.

    Metrics are all that need no weights from elsewhere, and those of ``checkpoints`` (by name, with
    their files; a trained metric by its folder, which clients call by its last name alone: see
    :meth:`called`). ``classifiers`` are by the name that clients give, ``store`` is the address of
    a store.
    """

    device: str = "cpu"
    checkpoints: Mapping[str, Path | None] = field(default_factory=dict)
    classifiers: Mapping[str, ClassifierSource] = field(default_factory=dict)
    store: str | None = None
    _trained: list[MetricCard] = field(init=False)
    _metrics: dict[str, Metric] = field(init=False, default_factory=dict)
    _classifiers: dict[str, nn.Module] = field(init=False, default_factory=dict)
    _opened: "tuple[object, Store] | None" = field(init=False, default=None)

    def __post_init__(self) -> None:
        trained = [name for name in self.checkpoints if name not in CATALOG]
        self._trained = [replace(metric_card(name), name=self.called(name)) for name in trained]
        names = [*CATALOG, *(card.name for card in self._trained)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"--metric: two are called {name}; name their folders apart")

    def __reduce__(self) -> tuple[type["Resources"], tuple[object, ...]]:
        return Resources, (self.device, self.checkpoints, self.classifiers, self.store)

    def called(self, name: str) -> str:
        """What clients call a metric of ``checkpoints``: where a folder lies is the server's own.

        >>> Resources().called("/srv/models/mine/"), Resources().called("hf-hub:somebody/something")
        ('mine', 'hf-hub:somebody/something')
        """
        return name if name in CATALOG or name.startswith("hf-hub:") else Path(name).resolve().name

    def cards(self) -> list[MetricCard]:
        """The cards of all metrics that may be asked for, the default first."""
        ready = [
            card
            for card in CATALOG.values()
            if card.checkpoint in ("none", "optional") or card.name in self.checkpoints
        ]
        return [*ready, *self._trained]

    def absent(self) -> list[str]:
        """Names of the metrics that would need weights that the server was not given."""
        known = {card.name for card in self.cards()}
        return [name for name in CATALOG if name not in known]

    def card(self, name: str) -> MetricCard:
        """The card of a metric that may be asked for; :class:`RefusedRequest` (422) otherwise."""
        cards = {card.name: card for card in self.cards()}
        if (name or DEFAULT) in cards:
            return cards[name or DEFAULT]
        if name in CATALOG:
            packaged = CATALOG[name].checkpoint == "packaged"
            given = name if packaged else f"{name}=FILE"
            raise RefusedRequest(
                422, f"metric {name}: needs weights, start the server with --metric {given}"
            )
        # Not metric_card: to it a folder or hf-hub:OWNER/NAME is a name, and no client may have the
        # server look at its disk or fetch anything.
        raise RefusedRequest(422, unknown_metric(name, cards))

    def metric(self, name: str) -> Metric:
        """The metric, ready to use."""
        card = self.card(name)
        if card.name not in self._metrics:
            folders = {self.called(given): given for given in self.checkpoints}
            given = folders.get(card.name, card.name)
            checkpoint = self.checkpoints.get(given)
            made = create_metric(given, checkpoint=checkpoint, device=self.device)
            self._metrics[card.name] = made
        return self._metrics[card.name]

    def proven_card(self, name: str) -> MetricCard:
        """The card of a metric that has a proven bound; :class:`RefusedRequest` (422) otherwise."""
        card = self.card(name)
        if not card.embedding:
            known = ", ".join(card.name for card in self.cards() if card.embedding)
            raise RefusedRequest(
                422, f"{card.name} has no proven bound to attack; these have: {known}"
            )
        return card

    def proven(self, name: str) -> EmbeddingMetric:
        """The metric, if it has a proven bound; :class:`RefusedRequest` (422) otherwise."""
        metric = self.metric(self.proven_card(name).name)
        assert isinstance(metric, EmbeddingMetric)
        return metric

    def classifier_name(self, name: str) -> str:
        """The classifier's full name, the only or first one's where ``name`` is empty."""
        if not self.classifiers:
            raise RefusedRequest(422, "The server was started without a classifier (--model).")
        name = name or next(iter(self.classifiers))
        if name not in self.classifiers:
            known = ", ".join(self.classifiers)
            raise RefusedRequest(422, f"model: expected one of {known}, found {name!r}")
        return name

    def classifier(self, name: str) -> nn.Module:
        """The classifier, ready to use."""
        name = self.classifier_name(name)
        if name not in self._classifiers:
            from percert.models import load_classifier

            given = self.classifiers[name]
            self._classifiers[name] = load_classifier(given.spec, self.device, given.weights)
        return self._classifiers[name]

    def opened_store(self) -> "Store":
        """The store as it is now; :class:`RefusedRequest` (422) where the server has none.

        503 where it cannot be read. One that was replaced by another is opened anew.
        """
        if self.store is None:
            raise RefusedRequest(422, "The server was started without a store (--store).")
        with readable_store():
            place = _place(self.store)
            if self._opened is None or self._opened[0] != place:
                self._opened = None
                try:
                    self._opened = place, self.open_store(self.store)
                except ValueError as error:  # there is none, or another one, where one was
                    raise RuntimeError(str(error)) from error
            store = self._opened[1]
            store.refresh()
            return store

    def open_store(self, path: str) -> "Store":
        """The store at ``path``, opened with the metric that it is of.

        Raises ``ValueError`` where there is none, or its metric is not at hand.
        """
        from percert.search import open_store
        from percert.search.info import metric_name

        name = metric_name(path, (name for name in self.checkpoints if name not in CATALOG))
        if name is None:
            raise ValueError(f"{path}: no store of percert")
        metric = self._metrics.get(self.called(name)) or create_metric(
            name, checkpoint=self.checkpoints.get(name), device=self.device
        )
        self._metrics[self.called(name)] = metric
        return open_store(path, metric, create=False, partner=self._partner_of(path))

    def _partner_of(self, path: str) -> "Descriptor | None":
        """The partner of a store, from the weights that the server was given for it.

        Without these the store finds it by its name.
        """
        from percert.metrics.descriptor import create_descriptor
        from percert.search.info import describe_store

        held = describe_store(path)["partner"]
        file = None if held is None else self.checkpoints.get(held["name"])
        return None if file is None else create_descriptor(f"{held['name']}={file}", self.device)


@contextlib.contextmanager
def readable_store() -> Iterator[None]:
    """What goes wrong with the store inside is :class:`RefusedRequest` (503), and logged.

    A plain ``ValueError`` is about what was asked, and passes.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, RefusedRequest) or type(error) in (ValueError, ArgumentError):
            raise
        _log.warning("the store cannot be read: %s", error)
        raise RefusedRequest(
            503, "The store cannot be read now; the server's log says why."
        ) from error


def _place(store: str) -> object:
    """Device, inode and time of a store's folder: another folder in its place has others."""
    with contextlib.suppress(OSError):
        found = os.stat(store)
        return found.st_dev, found.st_ino, found.st_ctime_ns
    return None


def name_classifiers(specs: Sequence[str], weights: Sequence[Path]) -> dict[str, ClassifierSource]:
    """The classifiers of ``specs`` with their ``weights`` in order, by short names.

    Raises ``ValueError`` for weights that are more than the classifiers, and a name given twice.

    >>> name_classifiers(["cards/mine.toml"], [])
    {'mine': ClassifierSource(spec='cards/mine.toml', weights=None)}
    """
    if len(weights) > len(specs):
        raise ArgumentError(
            Argument("weights"), f": {len(weights)} files for {len(specs)} classifiers"
        )
    files: list[Path | None] = [*weights, *[None] * (len(specs) - len(weights))]
    found: dict[str, ClassifierSource] = {}
    for spec, file in zip(specs, files, strict=True):
        name = Path(spec).stem if spec.endswith(".toml") else spec
        if name in found:
            raise ArgumentError(Argument("model"), f": {name} is given twice")
        found[name] = ClassifierSource(spec, file)
    return found
