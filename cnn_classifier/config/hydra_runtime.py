"""The values that Hydra provides to a job, for configs that are composed outside of a job."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from cnn_classifier.config.overrides import flatten

# The resolvers whose result depends on the job or the time.
RUNTIME_RESOLVERS = ("${hydra:", "${now:")


@contextmanager
def hydra_runtime(config: DictConfig) -> Iterator[DictConfig]:
    """Make `${hydra:...}` resolvable, as in a job that runs with this config.

    Args:
        config: A config composed with `return_hydra_config=True`.

    Yields:
        The config of the job, without the node `hydra`.
    """
    previous = HydraConfig.instance().cfg
    try:
        HydraConfig.instance().set_config(config)
        with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = str(Path(config.hydra.run.dir).absolute())
        HydraConfig.instance().set_config(config)
        job_config = deepcopy(config)
        with open_dict(job_config):
            del job_config["hydra"]
        yield job_config
    finally:
        HydraConfig.instance().cfg = previous


def resolve_runtime_values(config: DictConfig) -> None:
    """Replace the interpolations that depend on the job or the time by their values."""
    for key, value in flatten(OmegaConf.to_container(config, resolve=False)).items():
        if any(resolver in str(value) for resolver in RUNTIME_RESOLVERS):
            node = OmegaConf.select(config, key)
            resolved = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
            OmegaConf.update(config, key, resolved, merge=False)
