"""Sweeps and hyperparameter searches: many runs from one command."""
