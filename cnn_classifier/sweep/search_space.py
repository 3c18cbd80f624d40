"""What a search may choose, written in Hydra's own words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from cnn_classifier.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class SearchSpace:
    """The words of a command, some of which leave a choice.

    `model=cnn,resnet` and `choice(…)` are one of several; `range(1,10)` whole numbers or steps; `interval(0.1,0.5)`
    anything between, `int(interval(8,64))` any whole number; `tag(log,interval(…))` the same evenly in powers.

    Args:
        words: As they are typed.

    Raises:
        ConfigError: If none leaves a choice.
    """

    def __init__(self, overrides: Sequence[str]) -> None:
        parsed = {
            override.get_key_element(): override
            for override in OverridesParser.create().parse_overrides(list(overrides))
        }
        self.fixed_overrides = [
            format_override(override) for override in parsed.values() if not override.is_sweep_override()
        ]
        self.distributions: dict[str, BaseDistribution] = {
            key: to_distribution(override) for key, override in parsed.items() if override.is_sweep_override()
        }
        if not self.distributions:
            raise ConfigError(
                "nothing is looked for: give a value room, such as optimizer.lr='interval(0.01,0.1)', or search=quick"
            )

    def to_overrides(self, params: Mapping[str, Any]) -> list[str]:
        """The words of a job with these values, without those that say where it runs."""
        fixed = [override for override in self.fixed_overrides if not override.startswith(("sweep.", "hydra"))]
        return [*fixed, *(f"{key}={value}" for key, value in params.items())]


def format_override(override: Override) -> str:
    """A word with one value, as it can be given to a job."""
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def to_distribution(override: Override) -> "BaseDistribution":
    """What Optuna calls the room of a value."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value: Any = override.value()
    try:
        if isinstance(value, ChoiceSweep):
            return CategoricalDistribution(list(override.sweep_string_iterator()))
        if isinstance(value, IntervalSweep):
            is_integer = isinstance(value.start, int) and isinstance(value.end, int)
            distribution_class: Any = IntDistribution if is_integer else FloatDistribution
            return distribution_class(value.start, value.end, log="log" in value.tags)
        if isinstance(value, RangeSweep):
            bounds: list[Any] = [value.start, value.stop, value.step]
            if all(isinstance(number, int) for number in bounds):  # the end is not among them
                return IntDistribution(bounds[0], bounds[1] - 1, step=bounds[2])
            return FloatDistribution(bounds[0], bounds[1], step=bounds[2])
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{override.input_line}: {error}") from error
    raise ConfigError(f"{override.input_line} leaves a choice that a search cannot make; expected a,b or interval(…)")
