"""Metrics, charts and HTML pages computed from plain arrays, without torch."""
