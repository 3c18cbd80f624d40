"""Inference from checkpoints and bundles."""
