"""What the server was started with: metrics, classifiers, and a store to search."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from percert.app.refusal import Refused
from percert.metrics.catalog import CATALOG, create_metric, metric_card, unknown_metric
from percert.metrics.embedding import EmbeddingMetric
from percert.metrics.metric import Metric, MetricCard

if TYPE_CHECKING:
    from percert.search import Store

DEFAULT = "lipsim-tiny"


@dataclass(eq=False)
class Loaded:
    """Metrics are loaded when first asked for; which ones may be asked for is fixed at the start.

    These are all that need no weights from elsewhere, and those of ``checkpoints`` (by name, with
    their files; the folder of a trained metric is its name). ``classifiers`` are by the name that
    clients give.
    """

    device: str = "cpu"
    checkpoints: Mapping[str, Path | None] = field(default_factory=dict)
    classifiers: Mapping[str, nn.Module] = field(default_factory=dict)
    store: "Store | None" = None
    #: LanceDB's tables are read by one thread at a time.
    store_lock: threading.Lock = field(default_factory=threading.Lock)
    _trained: list[MetricCard] = field(init=False)
    _metrics: dict[str, Metric] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._trained = [metric_card(name) for name in self.checkpoints if name not in CATALOG]

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
        """The card of a metric that may be asked for; :class:`Refused` (422) otherwise."""
        cards = {card.name: card for card in self.cards()}
        if (name or DEFAULT) in cards:
            return cards[name or DEFAULT]
        if name in CATALOG:
            raise Refused(
                422, f"metric {name}: needs weights, start the server with --metric {name}=FILE"
            )
        # Not metric_card: to it a folder or hf-hub:OWNER/NAME is a name, and no client may have the
        # server look at its disk or fetch anything.
        raise Refused(422, unknown_metric(name, cards))

    def metric(self, name: str) -> Metric:
        """The metric, ready to use."""
        card = self.card(name)
        with self._lock:
            if card.name not in self._metrics:
                checkpoint = self.checkpoints.get(card.name)
                made = create_metric(card.name, checkpoint=checkpoint, device=self.device)
                self._metrics[card.name] = made
            return self._metrics[card.name]

    def proven(self, name: str) -> EmbeddingMetric:
        """The metric, if it has a proven bound; :class:`Refused` (422) otherwise."""
        metric = self.metric(name)
        if not isinstance(metric, EmbeddingMetric):
            known = ", ".join(card.name for card in self.cards() if card.embedding)
            raise Refused(422, f"{name} has no proven bound to attack; these have: {known}")
        return metric

    def classifier(self, name: str) -> tuple[str, nn.Module]:
        """The classifier and its full name, the only or first one where ``name`` is empty."""
        if not self.classifiers:
            raise Refused(422, "The server was started without a classifier (--model).")
        name = name or next(iter(self.classifiers))
        if name not in self.classifiers:
            known = ", ".join(self.classifiers)
            raise Refused(422, f"model: expected one of {known}, found {name!r}")
        return name, self.classifiers[name]

    def opened_store(self) -> "Store":
        """The store; :class:`Refused` (422) where the server has none."""
        if self.store is None:
            raise Refused(422, "The server was started without a store (--store).")
        return self.store


def load_classifiers(
    specs: Sequence[str], weights: Sequence[Path], device: str
) -> dict[str, nn.Module]:
    """The classifiers of ``specs`` with their ``weights`` in order, by short names.

    Raises ``ValueError`` for what :func:`percert.models.load_classifier` refuses, and for weights
    that are more than the classifiers.
    """
    from percert.models import load_classifier

    if len(weights) > len(specs):
        raise ValueError(f"--weights: {len(weights)} files for {len(specs)} classifiers")
    files: list[Path | None] = [*weights, *[None] * (len(specs) - len(weights))]
    found: dict[str, nn.Module] = {}
    for spec, file in zip(specs, files, strict=True):
        name = Path(spec).stem if spec.endswith(".toml") else spec
        if name in found:
            raise ValueError(f"--model: {name} is given twice")
        found[name] = load_classifier(spec, device, file)
    return found


def load_store(path: str, checkpoints: Mapping[str, Path | None], device: str) -> "Store":
    """The store at ``path``, opened with the metric that it is of."""
    from percert.search.metric_name import metric_name
    from percert.search.store import open_store

    name = metric_name(path, (name for name in checkpoints if name not in CATALOG))
    if name is None:
        raise ValueError(f"{path}: no store of percert")
    metric = create_metric(name, checkpoint=checkpoints.get(name), device=device)
    return open_store(path, metric, create=False)
