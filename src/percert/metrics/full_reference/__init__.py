"""Metrics computed from the pixels of two images alone, without learning."""
