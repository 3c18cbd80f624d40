"""How long a training may take, in the words of a user and in seconds."""

# Of a budget, once imports and a first check (27 s of 5,000 photos on 2 cores), decoding and the report are taken off;
# what is left is for a machine's moods.
TRAINING_FRACTION, RESERVED_SECONDS = 0.92, 40.0


def format_duration(seconds: float) -> str:
    """`15 minutes`, `90 s`"""
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"


def remaining_training_seconds(budget: float, elapsed: float) -> float:
    """What of a budget is left for training once so many seconds went on finding out how fast it is."""
    return max(budget - RESERVED_SECONDS - elapsed, budget / 2) * TRAINING_FRACTION
