"""Duplicates of a folder cleared away: groups, the file to keep, a plan, and undoing it."""
