"""Tables of aligned text for the terminal."""

from collections.abc import Collection, Sequence


def format_table(rows: Sequence[Sequence[str]], *, right_align: Collection[int] = ()) -> str:
    """Align the cells of each column, two spaces apart; lines have no trailing whitespace.

    Args:
        rows: The cells, a header among them; all rows have the same number of cells.
        right_align: The indices of the columns that are aligned to the right, such as numbers.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index in right_align else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
