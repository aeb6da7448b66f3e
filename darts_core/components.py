"""``params.yaml`` with everything that it names: the sections against their registries, and the names in them against each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from darts_core.config import Config, TextConfig, load
from darts_core.data import DATASETS, TextSource
from darts_core.engine.placing import check_computed
from darts_core.engine.rank_disorder import draw_distinct
from darts_core.engine.truth import BenchmarkTable
from darts_core.genotype import Genotype, GenotypeError, published
from darts_core.methods import METHODS
from darts_core.nets.baselines import BASELINES
from darts_core.nets.language_baselines import LANGUAGE_BASELINES
from darts_core.registry import Registry
from darts_core.search.derive import DERIVE_RULES
from darts_core.search.method import Method, check_space, check_warmup
from darts_core.search.select import TrainedAlone
from darts_core.spaces import SPACES
from darts_core.spaces.darts_rnn import RecurrentSpace
from darts_core.spaces.nasbench201 import from_string
from darts_core.spaces.space import CellSpace, Space
from darts_core.supernet.partial import check_width
from darts_core.supernet.recurrent import RecurrentSupernet

TRIED = 32
"""Random architectures that a benchmark's table must have."""

COMPONENTS: dict[str, Registry[Any]] = {"data": DATASETS, "space": SPACES, "method": METHODS}


def load_params(path: str | Path = "params.yaml") -> Config:
    """Read and check ``params.yaml``. Raise ``ConfigError`` with a line for every fault."""
    return load(path, components=COMPONENTS, cross_check=partial(cross_check, folder=Path(path).parent))


def cross_check(cfg: Config, *, folder: Path = Path(), only_search: bool = False) -> list[str]:
    """Return the faults that only show when a name is looked up: genotype, rule, baselines, data set, the parts of space and method.

    ``folder`` is that of ``params.yaml``, which a genotype file is given relative to. With ``only_search`` nothing will be retrained.
    """
    checks: list[Callable[[], object]] = [
        lambda: _check_data(cfg),
        lambda: build_space(cfg, folder=folder),
        lambda: _check_memory(cfg),
        lambda: _check_phases(cfg, folder=folder),
        lambda: _check_ranks(cfg),
        lambda: _check_sequences(cfg),
    ]
    is_text = isinstance(cfg, TextConfig)
    if not only_search and not is_text:
        checks.append(lambda: _check_network(cfg, folder=folder))
    if cfg.derive.genotype != "search":
        checks.append(lambda: named_genotype(cfg, folder=folder))
    else:
        checks.append(lambda: check_warmup(build_method(cfg), cfg.search))
        checks.append(lambda: _check_samples(cfg, folder=folder))
        checks.append(lambda: _check_pruning(build_method(cfg), build_space(cfg, folder=folder)))
    if not is_text and cfg.evaluate.benchmark_table is not None:
        checks.append(lambda: _check_table(benchmark_table(cfg, folder=folder), cfg, folder=folder))
    if isinstance(cfg.search.rank_truth, str):
        checks.append(lambda: _check_table(rank_table(cfg, folder=folder), cfg, folder=folder))
    if (rule := cfg.derive.rule) is not None:
        checks.append(lambda: DERIVE_RULES.get(rule))
    baselines: Registry[Any] = LANGUAGE_BASELINES if is_text else BASELINES
    checks += [lambda name=name: baselines.get(name) for name in cfg.retrain.baselines]  # type: ignore[misc]
    faults = []
    for check in checks:
        try:
            check()
        except ValueError as error:
            faults.append(str(error))
    return list(dict.fromkeys(faults))  # what is built for one check fails for the next one, too


def _check_pruning(method: Method, space: Space) -> None:
    """Raise ``ValueError`` where even the first weights, those of an even alpha, are light enough to be left out."""
    if method.prune_below is None:
        return
    even = float(method.relax(torch.zeros(1, len(space.primitives))).op_EO.min())
    if method.prune_below >= even:
        raise ValueError(
            f"method.prune_below must be less than {even:.3g}, which each of {len(space.primitives)} operations weighs at first. "
            f"Got {method.prune_below:g}."
        )


def _check_data(cfg: Config) -> None:
    """Look at the options of the data set, at no file, and whether it is of the kind that the space is for."""
    source = DATASETS.build(cfg.data.name, cfg.data.options)
    is_text = isinstance(source, TextSource)
    if is_text and not isinstance(cfg, TextConfig):
        raise ValueError(f"data.name: {cfg.data.name} is text, and space.name: {cfg.space.name} is for images. Set space.name: darts_rnn.")
    if not is_text and isinstance(cfg, TextConfig):
        texts = ", ".join(name for name in DATASETS.names() if DATASETS.returns(name) is TextSource)
        raise ValueError(f"data.name: {cfg.data.name} is images, and space.name: {cfg.space.name} is for text. Expected one of: {texts}.")
    if isinstance(source, TextSource):
        source.check_shares(cfg.data.valid_fraction)


def _check_ranks(cfg: Config) -> None:
    if isinstance(cfg, TextConfig) and cfg.search.rank_samples:
        raise ValueError(
            f"search.rank_samples must be 0 with space.name: {cfg.space.name}: the rank disorder is that of images' accuracies. "
            f"Got {cfg.search.rank_samples}."
        )


def _check_samples(cfg: Config, *, folder: Path) -> None:
    """Raise ``ValueError`` where more different architectures are to be drawn than the space holds."""
    space, select = build_space(cfg, folder=folder), build_method(cfg).select
    wanted = {"search.rank_samples": cfg.search.rank_samples, "method.samples": select.samples if isinstance(select, TrainedAlone) else 0}
    for key, samples in wanted.items():
        draw_distinct(space, samples, generator=torch.Generator().manual_seed(0), key=key)


def _check_sequences(cfg: Config) -> None:
    """Raise ``ValueError`` where a supernet's BatchNorm would have a single number to go by; networks trained alone have none."""
    is_trained = isinstance(cfg, TextConfig) and cfg.derive.genotype == "search" and not isinstance(build_method(cfg).select, TrainedAlone)
    if is_trained and cfg.search.batch_size < 2:
        raise ValueError(
            f"search.batch_size must be at least 2 with space.name: {cfg.space.name}: its BatchNorm needs more than one sequence. "
            f"Got {cfg.search.batch_size}."
        )


def _check_phases(cfg: Config, *, folder: Path) -> None:
    """Raise ``ValueError`` where the space does not suit a phase of the method, or its operations have no cost."""
    space, method = build_space(cfg, folder=folder), build_method(cfg)
    if isinstance(space, CellSpace):
        for channels in (space.init_channels, *space.widths):
            for number, phase in enumerate(method.phases):
                own = "method.channel_proportion" if phase.channel_proportion is None else "method.channel_proportions"
                check_width(channels, method.proportion(number), key=own)
    elif not suits(cfg.method.name, space):
        works = ", ".join(name for name in METHODS.names() if suits(name, space))
        raise ValueError(
            f"method.name: {cfg.method.name} does not work with space.name: {cfg.space.name}: it needs what only networks for images "
            f"have. Expected one of: {works}."
        )
    check_space(method, space)


def suits(name: str, space: Space) -> bool:
    """Whether the method called ``name`` works in ``space`` as its recipe has it."""
    try:
        check_space(METHODS.build(name, {}), space)
    except ValueError:
        return False
    return True


def _check_memory(cfg: Config) -> None:
    if isinstance(cfg, TextConfig):
        check_computed(cfg.search, RecurrentSupernet)
    if build_method(cfg).arch_gradient.graphs > 1 and cfg.search.memory == "lean":
        raise ValueError("search.memory: lean saves nothing with method.arch_gradient: exact. Set one of them to another value.")


def _check_network(cfg: Config, *, folder: Path) -> None:
    again = cfg.retrain
    image_space(cfg, folder=folder).check_network(
        init_channels=again.init_channels,
        layers=again.layers,
        stem=again.stem,
        auxiliary=again.auxiliary,
        drop_path_prob=again.drop_path_prob,
        cells=again.cells,
    )


def benchmark_table(cfg: Config, *, folder: Path = Path()) -> BenchmarkTable | None:
    """Return the table that ``evaluate.benchmark_table`` names, relative to ``folder``, or None.

    Raise ``ValueError`` where it cannot be read, or where the space does not write its architectures as tables do.
    """
    return _table(cfg, cfg.evaluate.benchmark_table, "evaluate.benchmark_table", otherwise="null", folder=folder)


def rank_table(cfg: Config, *, folder: Path = Path()) -> BenchmarkTable | None:
    """Return the table that ``search.rank_truth`` names, as :func:`benchmark_table` does; None where it names none."""
    named = cfg.search.rank_truth
    return _table(cfg, named if isinstance(named, str) else None, "search.rank_truth", otherwise="a number of epochs", folder=folder)


def _table(cfg: Config, path: str | None, key: str, *, otherwise: str, folder: Path) -> BenchmarkTable | None:
    if path is None:
        return None
    if build_space(cfg, folder=folder).spell is None:
        raise ValueError(f"{key} must be {otherwise} with space.name: {cfg.space.name}, whose architectures no table lists.")
    return BenchmarkTable.load(folder / path, key=key)


def _check_table(table: BenchmarkTable | None, cfg: Config, *, folder: Path) -> None:
    """Raise ``ValueError`` where ``table`` lacks one of a few random architectures of the space, before hours are spent on one it lacks.

    Where none is drawn and none is searched, the one that ``derive.genotype`` names may stand in it alone.
    """
    space = build_space(cfg, folder=folder)
    if table is None or not isinstance(space, CellSpace) or space.spell is None:
        return
    generator = torch.Generator().manual_seed(0)
    drawn = [space.random_genotype(generator) for _ in range(TRIED)]
    if cfg.derive.genotype != "search":
        drawn = [named_genotype(cfg, folder=folder), *(drawn if cfg.retrain.random_genotypes else [])]
    for genotype in drawn:
        table.look_up(space.spell(genotype))


def build_space(cfg: Config, *, folder: Path = Path()) -> Space:
    """Return the space that ``space.*`` describes; a file that it names is relative to ``folder``."""
    named = {key.partition(".")[2]: path for key, path in space_files(cfg, folder=folder).items()}
    space: Space = SPACES.build(cfg.space.name, {**cfg.space.options, **named})
    return space


def space_files(cfg: Config, *, folder: Path = Path()) -> dict[str, str]:
    """Return the files that ``space.*`` names, relative to ``folder``, by their keys."""
    options = cfg.space.options
    files = [key for key, kind in SPACES.types(cfg.space.name).items() if kind == Path | None]
    return {f"space.{key}": str(folder / str(options[key])) for key in files if options.get(key) is not None}


def text_space(cfg: Config) -> RecurrentSpace:
    """Return the space that ``space.*`` describes, where its networks read a text."""
    space = build_space(cfg)
    assert isinstance(space, RecurrentSpace)  # config.language tells a text's params.yaml by the space's name
    return space


def image_space(cfg: Config, *, folder: Path = Path()) -> CellSpace:
    """Return the space that ``space.*`` describes, where its networks see images. Raise ``ValueError`` where they read a text."""
    space = build_space(cfg, folder=folder)
    if not isinstance(space, CellSpace):
        raise ValueError(f"space.name must be a space for images here. Got {cfg.space.name}, which is for texts.")
    return space


def is_genotype_file(cfg: Config) -> bool:
    """Return whether ``derive.genotype`` names a file, which is told by the ending ``.json``."""
    return cfg.derive.genotype.lower().endswith(".json")


def named_genotype(cfg: Config, *, folder: Path = Path()) -> Genotype:
    """Return the genotype that ``derive.genotype`` is: a published one, one in a file, relative to ``folder``, or NAS-Bench-201's string.

    Raise ``GenotypeError`` where there is none of that name, where the file holds no genotype, or where it is of another space.
    """
    name = cfg.derive.genotype
    is_string = name.startswith("|")
    known = None if is_genotype_file(cfg) or is_string else published(name)
    space = build_space(cfg, folder=folder)
    try:
        genotype = known or (from_string(name) if is_string else Genotype.load(folder / name))
        space.check(genotype)
    except GenotypeError as error:
        raise GenotypeError(f"derive.genotype: {error}") from None
    return genotype


def build_method(cfg: Config) -> Method:
    """Return the method that ``method.*`` describes, with ``derive.rule`` in place of its own where one is given."""
    method: Method = METHODS.build(cfg.method.name, cfg.method.options)
    if cfg.derive.rule is None:
        return method
    if method.select is not None:
        raise ValueError(f"derive.rule must be null with a method that chooses the architecture itself. Got '{cfg.derive.rule}'.")
    return dataclasses.replace(method, derive=DERIVE_RULES.get(cfg.derive.rule))
