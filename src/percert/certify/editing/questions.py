"""The questions of certified edits: is the image a copy; which candidate is closer to it."""

from dataclasses import dataclass

from percert.certify.certificate import Certificate
from percert.certify.features import PixelFeatures, embed
from percert.certify.pairs import copies_of_features
from percert.certify.twoafc import twoafc_of_features
from percert.check import check_images
from percert.metrics.metric import Metric
from percert.tensors import Images


@dataclass(frozen=True)
class CopyQuestion:
    """Whether edited images are copies of the ``reference`` (one row) at ``threshold``."""

    reference: PixelFeatures
    threshold: float

    def __call__(self, edited: PixelFeatures) -> Certificate:
        return copies_of_features(self.reference, edited, self.threshold)


@dataclass(frozen=True)
class ChoiceQuestion:
    """Which of ``left`` (0) and ``right`` (1), one row each, is closer to edited images."""

    left: PixelFeatures
    right: PixelFeatures

    def __call__(self, edited: PixelFeatures) -> Certificate:
        return twoafc_of_features(edited, self.left, self.right)


def choice_between(metric: Metric, left: Images, right: Images) -> ChoiceQuestion:
    """The question which of two images, ``(1, 3, h, w)`` each, is closer."""
    return ChoiceQuestion(
        embed(metric, one_image(left, "left")), embed(metric, one_image(right, "right"))
    )


def one_image(images: Images, name: str) -> Images:
    """Check that ``images`` is a batch of one, ``(1, 3, h, w)``; else ``ValueError`` names it."""
    check_images(images, name)
    if len(images) != 1:
        raise ValueError(f"{name}: expected one image, (1, 3, h, w), found {tuple(images.shape)}")
    return images
