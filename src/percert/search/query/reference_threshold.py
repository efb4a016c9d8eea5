"""The threshold of a single reference image, from a wanted rate of false positives a pair."""

from dataclasses import dataclass

from percert.certify.features import PixelFeatures
from percert.certify.own_threshold import OwnThreshold, StoredThreshold
from percert.metrics.certified.embedding import EmbeddingMetric
from percert.search.background import background_of
from percert.search.query.recommended import recommended_threshold, share_of_queries
from percert.search.tables.schema import StoreHeader, metric_id


@dataclass(frozen=True)
class ReferenceThreshold:
    """The ``threshold`` of one reference, at which a share ``wrong`` of strangers is a copy.

    ``counted`` says whether so small a rate was counted when the metric was calibrated; if not, it
    is extrapolated.
    """

    threshold: StoredThreshold
    wrong: float
    counted: bool

    def __str__(self) -> str:
        how = "" if self.counted else " (extrapolated)"
        said = f"Of pairs of unrelated photographs {share_of_queries(self.wrong)} is as near{how}"
        if not self.threshold.rule.weight:
            return f"{said}."
        return (
            f"{said}; the reference's likeness to the background is {self.threshold.likeness:.2f}."
        )


def reference_threshold(
    metric: EmbeddingMetric, features: PixelFeatures, wrong: float
) -> ReferenceThreshold:
    """The own threshold of a reference with ``features``, for a rate ``wrong`` of false positives.

    It is the threshold of an index that holds the reference alone, as a whole image: by the
    metric's table of strangers, without pictures of one's own. Raises ``ValueError`` for a rate
    outside (0, 1), and for a metric without a table.

    >>> import torch
    >>> from percert.certify.features import embed
    >>> from percert.metrics.certified.lipsim import Thumbnail
    >>> metric, photo = Thumbnail(8), torch.rand(1, 3, 40, 40)
    >>> found = reference_threshold(metric, embed(metric, photo), 1e-3)
    >>> 0.1 < found.threshold.distance < 0.3, found.counted
    (True, True)
    """
    identity = metric_id(metric)
    background = background_of(identity)
    named = None if background is None else background.id
    header = StoreHeader(identity, ("whole",), named)
    found = recommended_threshold(header, 1, wrong)
    like = 0.0 if background is None else float(background.likeness(features)[0])
    rule = OwnThreshold(found.threshold, header.weight)
    return ReferenceThreshold(StoredThreshold(rule, like), wrong, found.counted)
