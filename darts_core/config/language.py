"""``params.yaml`` of a language model: ``space.name`` tells it from one of images; sections that differ are those that follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from darts_core.config.schema import (
    Baselines,
    Config,
    Count,
    CountOrZero,
    DataSection,
    Fraction,
    NotNegative,
    Positive,
    SearchConfig,
    Section,
)

TEXT_SPACES = ("darts_rnn",)
"""The spaces of language models. They stand here, since the sections must be known before a space can be built."""
LEAST_BPTT = 5
"""No window to learn from is drawn shorter: with less, every window would be longer than usual, and the learning rate in proportion."""


class LanguageConfig(Section):
    """Training a language model from scratch. Names and defaults are the reference's (quark0/darts, rnn/train.py)."""

    epochs: Count = 3600
    batch_size: Count = 64
    bptt: Count = Field(default=35, description="steps through which gradients flow back; each window's length is drawn about it")
    hidden: Count = Field(default=850, description="units of the cell and of the embedding, which is also the decoder")
    lr: Positive = Field(default=20.0, description="of a window of bptt steps; in proportion for a shorter or longer one")
    weight_decay: NotNegative = 8e-7
    grad_clip: NotNegative = Field(default=0.25, description="largest norm of the gradient; 0 switches clipping off")
    nonmono: CountOrZero = Field(
        default=5,
        description="weights are averaged (ASGD) once validation is worse than at its best before the last so many epochs; 0: never",
    )
    dropout_embedding: Fraction = Field(default=0.1, description="of words, dropped wherever they come up in a window")
    dropout_inputs: Fraction = Field(default=0.2, description="of the embedding's units, the same at every step")
    dropout_gates: Fraction = Field(default=0.75, description="of what the cell reads of them")
    dropout_hidden: Fraction = Field(default=0.25, description="of the cell's hidden state")
    dropout_outputs: Fraction = Field(default=0.75, description="of what the decoder reads")
    activation_penalty: NotNegative = Field(default=0.0, description="times the mean square of what the decoder reads (AR)")
    slowness_penalty: NotNegative = Field(
        default=1e-3, description="times the mean square of the hidden state's change from step to step (TAR)"
    )
    baselines: Baselines = ("lstm",)
    random_genotypes: CountOrZero = Field(default=1, description="random cells of the same space, trained by the same recipe")

    @field_validator("bptt")
    @classmethod
    def _is_no_shorter_than_a_window(cls, value: int) -> int:
        if value < LEAST_BPTT:
            raise ValueError(
                f"must be at least {LEAST_BPTT}: no window is drawn shorter, and lr is in proportion to the length. Got {value}."
            )
        return value


class TextSearchConfig(SearchConfig):
    """The bilevel search of a recurrent cell. Defaults are the reference's (quark0/darts, rnn/train_search.py), whose rate is constant."""

    lr: Positive = Field(default=20.0, description="of a window of bptt steps; in proportion for a shorter or longer one")
    lr_min: NotNegative = Field(default=20.0, description="the cosine's end; left out it is lr")
    momentum: Fraction = 0.0
    weight_decay: NotNegative = 5e-7
    grad_clip: NotNegative = Field(default=0.25, description="largest norm of the weights' gradient; 0 switches clipping off")
    arch_lr: Positive = 3e-3

    @model_validator(mode="before")
    @classmethod
    def _rate_is_constant(cls, values: Any) -> Any:
        if isinstance(values, dict) and "lr" in values and "lr_min" not in values:
            return {**values, "lr_min": values["lr"]}
        return values


class TextEvaluateConfig(Section):
    """The one look at the test text."""

    weights: Literal["best", "last"] = Field(default="best", description="the epoch of lowest validation loss, or the last one")
    batch_size: Count = Field(default=10, description="pieces of the text that are read side by side, each from an empty state")
    window: Count = Field(default=70, description="tokens that are resampled together, for the intervals")
    bootstrap_samples: Count = 2000


class TextConfig(Config):
    """The whole of ``params.yaml`` where ``space.name`` is that of a language model."""

    # mypy: these sections take the place of the images'; a function that reads the others of them asks for a plain Config.
    data: DataSection  # type: ignore[assignment]
    augment: None = None  # type: ignore[assignment]
    search: TextSearchConfig = TextSearchConfig()
    retrain: LanguageConfig = LanguageConfig()  # type: ignore[assignment]
    evaluate: TextEvaluateConfig = TextEvaluateConfig()  # type: ignore[assignment]

    @field_validator("augment", mode="before")
    @classmethod
    def _no_augmentation(cls, value: object) -> object:
        if value is not None:
            raise ValueError("is about images; with a space of language models it must be null.")
        return value

    @field_validator("search")
    @classmethod
    def _no_cutout(cls, value: SearchConfig) -> SearchConfig:
        if value.cutout:
            raise ValueError("cutout is about images; with a space of language models it must be false.")
        return value


def config_type(values: Mapping[str, Any]) -> type[Config]:
    """Return the schema that the sections ``values`` are to follow: that of images, or of text where ``space.name`` says so."""
    space = values.get("space")
    return TextConfig if isinstance(space, dict) and space.get("name") in TEXT_SPACES else Config
