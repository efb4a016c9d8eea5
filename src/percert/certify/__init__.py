"""Certificates: what cannot change, however images are perturbed within an l2 budget."""

from percert.certify.certificate import Certificate, Interval, NearestCertificate
from percert.certify.features import PixelFeatures, pixel_features
from percert.certify.nearest import nearest, nearest_of_features
from percert.certify.own_threshold import OwnThreshold, likeness, own_copies_of_features
from percert.certify.pairs import copies, copies_of_features, distance, distance_of_features
from percert.certify.twoafc import twoafc, twoafc_of_features

__all__ = [
    "Certificate",
    "Interval",
    "NearestCertificate",
    "OwnThreshold",
    "PixelFeatures",
    "copies",
    "copies_of_features",
    "distance",
    "distance_of_features",
    "likeness",
    "nearest",
    "nearest_of_features",
    "own_copies_of_features",
    "pixel_features",
    "twoafc",
    "twoafc_of_features",
]
