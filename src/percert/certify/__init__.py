"""Certificates: what cannot change, however images are perturbed within an l2 budget."""

from percert.certify.certificate import Certificate, Interval, NearestCertificate
from percert.certify.editing.cover import Covered
from percert.certify.editing.families import FAMILIES as EDITS
from percert.certify.editing.few_pixels import LocalChanges, local_changes
from percert.certify.editing.ranges import EditRange, edited, edits, edits_twoafc
from percert.certify.editing.regions import (
    AllCrops,
    AllShifts,
    AllTurns,
    edits_everywhere,
    edits_everywhere_twoafc,
)
from percert.certify.editing.shifts import shifted
from percert.certify.features import PixelFeatures, pixel_features
from percert.certify.nearest import nearest, nearest_of_features
from percert.certify.own_threshold import OwnThreshold, likeness, own_copies_of_features
from percert.certify.pairs import copies, copies_of_features, distance, distance_of_features
from percert.certify.pixel_intervals import PixelInterval, pixel_distance
from percert.certify.ssim_bound import ssim_constant, ssim_interval
from percert.certify.twoafc import twoafc, twoafc_of_features

__all__ = [
    "EDITS",
    "AllCrops",
    "AllShifts",
    "AllTurns",
    "Certificate",
    "Covered",
    "EditRange",
    "Interval",
    "LocalChanges",
    "NearestCertificate",
    "OwnThreshold",
    "PixelFeatures",
    "PixelInterval",
    "copies",
    "copies_of_features",
    "distance",
    "distance_of_features",
    "edited",
    "edits",
    "edits_everywhere",
    "edits_everywhere_twoafc",
    "edits_twoafc",
    "likeness",
    "local_changes",
    "nearest",
    "nearest_of_features",
    "own_copies_of_features",
    "pixel_distance",
    "pixel_features",
    "shifted",
    "ssim_constant",
    "ssim_interval",
    "twoafc",
    "twoafc_of_features",
]
