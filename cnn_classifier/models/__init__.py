"""Networks, one architecture a file; each maps images (B, C, H, W) to logits (B, K)."""
