"""Image classifiers as things that take sRGB images in [0, 1].

>>> from percert.models import ClassifierCard
>>> ClassifierCard(architecture="squeezenet1_0", classes=10).size is None  # the images' own
True
"""

from percert.models.card import (
    ClassifierCard,
    PreparedClassifier,
    Preprocessing,
    read_card,
    shipped_card,
    shipped_cards,
)
from percert.models.load import load_classifier
from percert.models.weights import load_weights, read_weights

__all__ = [
    "ClassifierCard",
    "PreparedClassifier",
    "Preprocessing",
    "load_classifier",
    "load_weights",
    "read_card",
    "read_weights",
    "shipped_card",
    "shipped_cards",
]
