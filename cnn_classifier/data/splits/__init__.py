"""Train, validation and test splits."""
