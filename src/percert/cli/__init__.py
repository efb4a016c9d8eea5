"""The command line: ``percert VERB``, one verb a file."""

from percert.cli.app import app, main

__all__ = ["app", "main"]
