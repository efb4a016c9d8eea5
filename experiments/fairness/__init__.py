"""Fairness: the level of the audit's tests, and what robust training changes."""
