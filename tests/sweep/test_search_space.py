"""Tests of the conversion of Hydra overrides to an Optuna search space."""

import pytest
from optuna.distributions import IntDistribution

from cnn_classifier.errors import ConfigError
from cnn_classifier.sweep.search_space import SearchSpace


def test_hydra_overrides_are_converted_to_distributions() -> None:
    space = SearchSpace(
        [
            "model=cnn,resnet",
            "optimizer.lr=tag(log,interval(0.001,0.1))",
            "dataset.batch_size=range(16,65,16)",
            "seed=int(interval(1,9))",
            "augment.affine.crop_area=choice([0.5,1.0],[0.7,1.0])",
            "trainer.max_epochs=3",
            "sweep.study=mine",
        ]
    )
    distributions = space.distributions
    assert distributions["model"].choices == ("cnn", "resnet")
    lr = distributions["optimizer.lr"]
    assert (lr.low, lr.high, lr.log) == (0.001, 0.1, True)
    assert (distributions["dataset.batch_size"].low, distributions["dataset.batch_size"].high) == (16, 64)
    assert isinstance(distributions["seed"], IntDistribution)
    assert distributions["augment.affine.crop_area"].choices == ("[0.5,1.0]", "[0.7,1.0]")
    assert space.to_overrides({"seed": 3}) == ["trainer.max_epochs=3", "seed=3"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=1"], "The search space is empty: use for example"),
        (["optimizer.lr=interval(0.1,0.01)"], r"optimizer.lr=interval\(0.1,0.01\):"),
    ],
)
def test_invalid_search_space_raises_config_error(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchSpace(overrides)
