"""Charts as SVG coordinates and as PNG files."""
