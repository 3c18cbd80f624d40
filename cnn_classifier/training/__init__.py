"""Training with Lightning: module, trainer, callbacks, checkpoints and resuming."""
