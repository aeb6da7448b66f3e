"""``params.yaml`` -> frozen, typed objects; every fault is reported at once, with its line."""

from darts_core.config.reading import ConfigError, from_mapping, load, parse
from darts_core.config.schema import (
    AugmentConfig,
    BenchmarkConfig,
    Component,
    Config,
    DataConfig,
    DeriveConfig,
    EvaluateConfig,
    RetrainConfig,
    RuntimeConfig,
    SearchConfig,
    Section,
    TrackingConfig,
)

__all__ = [
    "AugmentConfig",
    "BenchmarkConfig",
    "Component",
    "Config",
    "ConfigError",
    "DataConfig",
    "DeriveConfig",
    "EvaluateConfig",
    "RetrainConfig",
    "RuntimeConfig",
    "SearchConfig",
    "Section",
    "TrackingConfig",
    "from_mapping",
    "load",
    "parse",
]
