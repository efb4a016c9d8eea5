"""Colour: sRGB, linear light, XYZ and CIELAB, and the difference CIEDE2000, all differentiable."""

from percert.color.colorimetry import (
    ciede2000,
    lab_to_srgb,
    lab_to_xyz,
    linear_to_srgb,
    linear_to_xyz,
    srgb_to_lab,
    srgb_to_linear,
    xyz_to_lab,
    xyz_to_linear,
)

__all__ = [
    "ciede2000",
    "lab_to_srgb",
    "lab_to_xyz",
    "linear_to_srgb",
    "linear_to_xyz",
    "srgb_to_lab",
    "srgb_to_linear",
    "xyz_to_lab",
    "xyz_to_linear",
]
