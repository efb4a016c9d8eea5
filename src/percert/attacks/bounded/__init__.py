"""Attacks that look for any success within a budget."""
