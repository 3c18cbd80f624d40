"""The search space of a hyperparameter search, in Hydra's override grammar."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from cnn_classifier.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class SearchSpace:
    """Command-line overrides, split into fixed ones and ones to search.

    `model=cnn,resnet` and `choice(…)` are categorical; `range(1,10)` is a range of integers or steps;
    `interval(0.1,0.5)` is uniform, `int(interval(8,64))` uniform over integers, and `tag(log,interval(…))`
    log-uniform.

    Args:
        overrides: The command-line overrides.

    Raises:
        ConfigError: If no override defines a search space, or one is invalid.
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
                "The search space is empty: use for example optimizer.lr='interval(0.01,0.1)' or search=quick"
            )

    def to_overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Return the overrides of a job with these parameter values, without those of the sweep and of Hydra."""
        fixed = [override for override in self.fixed_overrides if not override.startswith(("sweep.", "hydra"))]
        return [*fixed, *(f"{key}={value}" for key, value in params.items())]


def format_override(override: Override) -> str:
    """Return an override with a single value as text."""
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def to_distribution(override: Override) -> "BaseDistribution":
    """Convert an override with several values to an Optuna distribution.

    Raises:
        ConfigError: If Optuna has no such distribution, or its bounds are invalid.
    """
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
            if all(isinstance(number, int) for number in bounds):  # Hydra's range excludes the end
                return IntDistribution(bounds[0], bounds[1] - 1, step=bounds[2])
            return FloatDistribution(bounds[0], bounds[1], step=bounds[2])
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{override.input_line}: {error}") from error
    raise ConfigError(f"{override.input_line} is not supported in a search: expected a,b, range(…) or interval(…)")
