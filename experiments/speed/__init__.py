"""Seconds and bytes: networks, certificates, data sets, the page."""
