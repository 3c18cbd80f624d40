"""Metrics and statistics of a report."""
