"""Metrics and statistical tests."""
