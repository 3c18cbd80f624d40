"""The configuration: Hydra composition, checks without torch, and instantiation."""
