"""The keys of ``params.yaml``: their types, limits, defaults and meaning."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationInfo, field_validator

Fraction = Annotated[float, Field(ge=0.0, lt=1.0, strict=True)]
OpenFraction = Annotated[float, Field(gt=0.0, lt=1.0, strict=True)]
Share = Annotated[float, Field(gt=0.0, le=1.0, strict=True)]
Degrees = Annotated[float, Field(ge=0.0, le=180.0, strict=True)]
Zoom = Annotated[float, Field(ge=0.0, le=1.0, strict=True)]
Positive = Annotated[float, Field(gt=0.0, strict=True)]
NotNegative = Annotated[float, Field(ge=0.0, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
CountOrZero = Annotated[int, Field(ge=0, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Threads = Annotated[int, Field(ge=1, le=1024, strict=True)]
"""Threads or processes at once: as many as a large machine has cores; a zero too many would bring the machine down."""
ThreadsOrZero = Annotated[int, Field(ge=0, le=1024, strict=True)]


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError(f"names a network twice. Got {list(value)}.")
    return value


Baselines = Annotated[tuple[str, ...], AfterValidator(_distinct)]


class Section(BaseModel):
    """A section of ``params.yaml``: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Component(BaseModel):
    """A section that selects a registered part: ``name``, and the options of its factory beside it."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything beside ``name``, as written."""
        return dict(self.__pydantic_extra__ or {})


class DataSection(Component):
    """Which data, and what is kept to choose by. The other keys are options of the data set."""

    valid_fraction: Fraction = Field(default=0.1, description="share of the training data kept for choosing the retrained epoch")


class DataConfig(DataSection):
    """Which images, how they are split and how much memory they may take. The other keys are options of the data set."""

    split_seed: Seed = Field(default=0, description="seed of every split; apart from `seed`, so that all seeds share one test set")
    memory_budget_mib: Positive = Field(default=4096.0, description="above it images stay in files and are decoded as they are needed")
    unreadable: Literal["error", "skip"] = Field(default="error", description="an image that cannot be decoded: stop, or skip and count")


class AugmentConfig(Section):
    """Augmentation of training batches; null takes the data set's own default."""

    crop_padding: CountOrZero | None = Field(default=None, description="pixels of zero padding before the random crop")
    flip: StrictBool | None = Field(default=None, description="mirror half of the images")
    rotation: Degrees | None = Field(default=None, description="degrees, at most, that an image is turned to either side")
    zoom: Zoom | None = Field(default=None, description="largest relative change of width and height, each drawn on its own")
    cutout_length: CountOrZero | None = Field(default=None, description="side of the square that cutout blanks, pixels")


def _not_above_lr(value: float, info: ValidationInfo) -> float:
    if value > info.data.get("lr", value):
        raise ValueError(f"must not exceed lr ({info.data['lr']}). Got {value}.")
    return value


class SearchConfig(Section):
    """The bilevel search. Names and defaults are the reference's (quark0/darts, cnn/train_search.py)."""

    epochs: Count = 50
    batch_size: Count = 64
    lr: Positive = 0.025
    lr_min: NotNegative = Field(default=0.001, validate_default=True, description="the cosine's end")
    momentum: Fraction = 0.9
    weight_decay: NotNegative = 3e-4
    grad_clip: NotNegative = Field(default=5.0, description="largest norm of the weights' gradient; 0 switches clipping off")
    arch_lr: Positive = 3e-4
    arch_weight_decay: NotNegative = 1e-3
    train_portion: OpenFraction = Field(default=0.5, description="share of the training images for the weights; the rest moves alpha")
    data_fraction: Share = Field(default=1.0, description="share of the training images that the search uses, the same of every class")
    cutout: StrictBool = False
    hessian_every: CountOrZero = Field(
        default=0, description="log the dominant Hessian eigenvalue of the validation loss by alpha every so many epochs; 0: never"
    )
    rank_samples: CountOrZero = Field(
        default=0, description="random architectures whose order by the supernet's weights is compared with their own training's; 0: none"
    )
    rank_every: Count = Field(default=1, description="epochs from one comparison to the next")
    rank_truth: int | str | None = Field(
        default=None, validate_default=True, description="what they are worth: a benchmark table's path, or epochs that each is trained for"
    )
    backend: Literal["auto", "reference", "eager", "native", "compiled"] = Field(
        default="auto",
        description="auto: eager, or native (C++ for a CPU) for a long search, where it agrees with reference, the published forward",
    )
    memory: Literal["auto", "normal", "lean"] = Field(
        default="auto", description="lean computes cells or edges a second time to save memory; auto: lean where normal exceeds the budget"
    )
    memory_budget_mib: Positive | None = Field(default=None, description="for memory: auto; null: 80 % of what is free on the device")

    _lr_min = field_validator("lr_min")(_not_above_lr)

    @field_validator("rank_samples")
    @classmethod
    def _can_be_ordered(cls, value: int) -> int:
        if 0 < value < 5:
            raise ValueError(f"must be at least 5, since fewer show no order, or 0 for none. Got {value}.")
        return value

    @field_validator("rank_every")
    @classmethod
    def _comes_to_pass(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and not info.data.get("rank_samples", 1):
            raise ValueError(f"has an effect with search.rank_samples above 0 alone. Set it to 1. Got {value}.")
        if value > info.data.get("epochs", value):
            raise ValueError(f"must not exceed search.epochs ({info.data['epochs']}). Got {value}.")
        return value

    @field_validator("rank_truth", mode="before")
    @classmethod
    def _is_epochs_or_a_path(cls, value: Any) -> Any:
        if value is None or isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise ValueError(f"must be the path of a benchmark table, or a whole number of epochs of at least 1, or null. Got {value!r}.")

    @field_validator("rank_truth")
    @classmethod
    def _is_known_where_asked(cls, value: int | str | None, info: ValidationInfo) -> int | str | None:
        samples = info.data.get("rank_samples")
        if samples == 0 and value is not None:
            raise ValueError(f"has an effect with search.rank_samples above 0 alone. Set it to null. Got {value!r}.")
        if samples and value is None:
            raise ValueError("must be the path of a benchmark table, or a number of epochs, with search.rank_samples above 0. Got null.")
        return value

    @field_validator("memory_budget_mib")
    @classmethod
    def _budget_is_read(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("memory", "auto") != "auto":
            raise ValueError(f"has an effect with search.memory: auto alone ({info.data['memory']}). Set it to null. Got {value}.")
        return value


class DeriveConfig(Section):
    """How alpha becomes a genotype, or which published genotype or genotype file to take instead."""

    genotype: str = Field(
        default="search", description="'search', a published genotype (darts genotypes) or a .json file beside params.yaml: then no search"
    )
    rule: str | None = Field(default=None, description="null: the method's own rule")


class RetrainConfig(Section):
    """Training from scratch. Names and defaults are the reference's (quark0/darts, cnn/train.py)."""

    epochs: Count = 600
    batch_size: Count = 96
    lr: Positive = 0.025
    lr_min: NotNegative = Field(default=0.0, description="the cosine's end")
    warmup_epochs: CountOrZero = 0
    momentum: Fraction = 0.9
    weight_decay: NotNegative = 3e-4
    grad_clip: NotNegative = Field(default=5.0, description="largest norm of the gradient; 0 switches clipping off")
    init_channels: Count = 36
    layers: Count = 20
    cells: tuple[Literal["normal", "reduction"], ...] | None = Field(default=None, description="which cells; null: as the space has them")
    stem: Literal["cifar", "imagenet"] = "cifar"
    auxiliary: StrictBool = True
    auxiliary_weight: NotNegative = 0.4
    drop_path_prob: Fraction = 0.2
    cutout: StrictBool = True
    label_smoothing: Fraction = 0.0
    amp: Literal["off", "bfloat16", "float16"] = "off"
    backend: Literal["eager", "native", "compiled"] = Field(
        default="eager",
        description="how cell networks are computed here and in evaluate: eager, by PyTorch; native, by C++; compiled, by torch.compile",
    )
    baselines: Baselines = ("resnet20", "mobilenet_v2")
    random_genotypes: CountOrZero = Field(default=1, description="random cells of the same space, trained by the same recipe")

    _lr_min = field_validator("lr_min")(_not_above_lr)

    @field_validator("warmup_epochs")
    @classmethod
    def _warm_up_is_shorter(cls, value: int, info: ValidationInfo) -> int:
        if value >= info.data.get("epochs", value + 1):
            raise ValueError(f"must be smaller than retrain.epochs ({info.data['epochs']}). Got {value}.")
        return value

    @field_validator("backend")
    @classmethod
    def _is_of_one_precision(cls, value: str, info: ValidationInfo) -> str:
        if value == "native" and info.data.get("amp", "off") != "off":
            raise ValueError(f"must be eager or compiled with retrain.amp {info.data['amp']}: native computes in float32. Got native.")
        return value


class EvaluateConfig(Section):
    """The one look at the test set."""

    weights: Literal["best", "last"] = Field(default="best", description="the epoch of highest validation accuracy, or the last one")
    batch_size: Count = 256
    bootstrap_samples: Count = 2000
    calibration_bins: Count = 15
    benchmark_table: str | None = Field(
        default=None, description="CSV (arch, val_accuracy, test_accuracy) of all architectures of the space"
    )


class BenchmarkConfig(Section):
    """Latency, throughput and memory on this device (hardware protocol 1)."""

    protocol: Literal["quick", "full"] = "quick"
    batch_sizes: tuple[Count, ...] = (1, 8, 64)
    num_threads: Threads | None = Field(default=None, description="threads that compute while it is measured; null: runtime.num_threads")

    @field_validator("batch_sizes")
    @classmethod
    def _is_not_empty(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("must hold at least one batch size. Got [].")
        return value


class RuntimeConfig(Section):
    """Where and how it runs. ``num_workers``, ``processes`` and ``progress`` change no result; ``device`` and ``num_threads`` may."""

    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N (a ROCm card is cuda, too)")
    num_threads: Threads | None = Field(default=None, description="null: all cores that this process may use")
    num_workers: ThreadsOrZero = Field(default=2, description="processes that decode images")
    processes: Threads = Field(default=1, description="networks that retrain trains at the same time, each in a process of its own")
    progress: Literal["auto", "bar", "lines", "off"] = "auto"
    deterministic: StrictBool = Field(default=True, description="on a GPU, repeatable cuDNN or MIOpen kernels alone; a CPU repeats itself")

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
            raise ValueError(f"must be auto, cpu, cuda or cuda:N. Got {value!r}.")
        return value


class TrackingConfig(Section):
    """MLflow."""

    enabled: StrictBool = True
    uri: str | None = Field(default=None, description="null: MLFLOW_TRACKING_URI, else sqlite mlflow.db beside dvc.yaml")
    experiment: str = "darts"
    alphas: Literal["mean", "full"] = Field(
        default="mean", description="mean: a curve an operation; full: a curve an edge and operation too"
    )
    log_model: StrictBool = Field(default=False, description="store the network as an MLflow model, too")


class Config(Section):
    """The whole of ``params.yaml``."""

    seed: Seed = 0
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    space: Component = Component(name="darts_cnn")
    method: Component = Component(name="darts")
    search: SearchConfig = SearchConfig()
    derive: DeriveConfig = DeriveConfig()
    retrain: RetrainConfig = RetrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    benchmark_hw: BenchmarkConfig = BenchmarkConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    tracking: TrackingConfig = TrackingConfig()
