"""Queries of a store: nearest images, copies, duplicates, thresholds, each with certificates."""
