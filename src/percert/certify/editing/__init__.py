"""Certified edits: ranges of brightness, crops, rotations, ... for which an answer is proven."""
