"""The pixel cache, batch loaders and augmentation on the training device."""
