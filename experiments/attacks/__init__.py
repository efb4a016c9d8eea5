"""Attacks on classifiers: how far they go, how fast, and beside other implementations."""
