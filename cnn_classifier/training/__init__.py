"""Training with Lightning: module, trainer, callbacks, checkpoints and resume."""
