"""Image decoding and resizing, from a file to upright uint8 pixels."""
