"""Which metric a store's embeddings are from: they mean nothing under another."""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from percert.metrics.metric import Metric


@dataclass(frozen=True)
class MetricId:
    """All that decides what an embedding is and what is proven of it.

    ``weights`` is the SHA-256 of the network's weights, ``bound`` the proven Lipschitz bound of the
    network alone (a stored image's own bound has the norm of its resize besides), ``constant`` the
    c appended before normalising, ``feature_error`` the relative float error of an embedding of
    ``width`` values, ``resolution`` the (height, width) that the network sees, ``resize`` how.
    """

    name: str
    weights: str
    bound: float
    constant: float
    feature_error: float
    width: int
    resolution: tuple[int, int]
    resize: str
    precision: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def metric_id(metric: "Metric") -> MetricId:
    """The identity of ``metric``. Raises ``ValueError`` for one without a proven bound.

    >>> from percert.metrics.thumbnail import thumbnail
    >>> found = metric_id(thumbnail(8))
    >>> found.name, found.width, found.resolution, found.bound
    ('thumbnail-8', 192, (8, 8), 1.0)
    """
    # Here: to read what a store was made with takes no network.
    import torch

    from percert.certify.embed import certifiable
    from percert.lipschitz.weights_hash import weights_hash

    proven = certifiable(metric)
    with torch.no_grad():
        probe = proven.embed(torch.full((1, 3, *proven.resolution), 0.5))
    resize = f"{proven.resize.mode}{', antialiased' if proven.resize.antialias else ''}"
    return MetricId(
        name=proven.name,
        weights=weights_hash(proven.network),
        bound=proven.bound(proven.resolution).value,
        constant=proven.constant,
        feature_error=proven.feature_error,
        width=probe.shape[1],
        resolution=proven.resolution,
        resize=resize,
        precision=str(probe.dtype).removeprefix("torch."),
    )


def parse_metric_id(text: str) -> MetricId:
    """The inverse of :meth:`MetricId.to_json`; ``ValueError`` for anything else."""
    try:
        found = json.loads(text)
        known = {field.name for field in fields(MetricId)}
        if set(found) != known:
            raise ValueError(f"expected the fields {sorted(known)}, found {sorted(found)}")
        height, width = found.pop("resolution")
        return MetricId(**found, resolution=(int(height), int(width)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"not the identity of a metric: {error}") from error


def check_same_metric(stored: MetricId, given: MetricId, store: str) -> None:
    """Raise ``ValueError``, with both hashes, unless the two are the same.

    The one given may be more exact, for embeddings are taken as they are stored: float64 where a
    store was made in float32, with less error to allow for.
    """
    exact = given.precision in (stored.precision, "float64")
    if exact and given.feature_error <= stored.feature_error:
        given = replace(given, precision=stored.precision, feature_error=stored.feature_error)
    if stored == given:
        return
    if (stored.name, stored.weights) != (given.name, given.weights):
        raise ValueError(
            f"{store}: holds embeddings of {stored.name} with weights {stored.weights}, "
            f"found {given.name} with weights {given.weights}"
        )
    for field in fields(MetricId):
        ours, theirs = getattr(stored, field.name), getattr(given, field.name)
        if ours != theirs:
            raise ValueError(
                f"{store}: holds embeddings of {stored.name} (weights {stored.weights}) with "
                f"{field.name} {ours}, found {theirs} (weights {given.weights})"
            )
