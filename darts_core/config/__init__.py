"""``params.yaml`` -> frozen, typed objects; every fault is reported at once, with its line."""

from darts_core.config.language import LanguageConfig, TextConfig, TextEvaluateConfig, config_type
from darts_core.config.reading import ConfigError, from_mapping, load, parse
from darts_core.config.schema import (
    AugmentConfig,
    BenchmarkConfig,
    Component,
    Config,
    DataConfig,
    DataSection,
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
    "DataSection",
    "DeriveConfig",
    "EvaluateConfig",
    "LanguageConfig",
    "RetrainConfig",
    "RuntimeConfig",
    "SearchConfig",
    "Section",
    "TextConfig",
    "TextEvaluateConfig",
    "TrackingConfig",
    "config_type",
    "from_mapping",
    "load",
    "parse",
]
