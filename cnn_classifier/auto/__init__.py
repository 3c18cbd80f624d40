"""Resolves every `auto` value of a configuration."""
