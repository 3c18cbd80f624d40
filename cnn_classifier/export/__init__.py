"""From a checkpoint to a bundle that answers elsewhere, and the proof that it answers the same."""
