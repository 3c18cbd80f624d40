"""Checks of a dataset: unreadable files, duplicates, leaks and suggestions."""
