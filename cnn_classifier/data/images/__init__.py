"""From an image file to upright uint8 pixels."""
