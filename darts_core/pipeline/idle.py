"""Settings that are right one by one and have no effect together: no fault, but not what somebody who wrote them expects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from darts_core.components import build_method, build_space, text_space
from darts_core.config import Config, TextConfig
from darts_core.data import DATASETS
from darts_core.data.text_files import part_files
from darts_core.genotype import published, published_names
from darts_core.search.curvature import CurvatureRise
from darts_core.search.penalties import BetaDecay
from darts_core.search.perturb import AdversarialPerturbation, RandomPerturbation
from darts_core.search.phases import spans
from darts_core.search.select import TrainedAlone
from darts_core.search.stop import SkipLimit, StableRanking


def without_effect(cfg: Config, *, folder: Path = Path()) -> list[str]:
    """Return a line for each setting that nothing will read, beginning with its key.

    As far as ``params.yaml`` alone can tell, and the names of a text's files; ``folder`` is that of ``params.yaml``.
    """
    if isinstance(cfg, TextConfig):
        return [
            *_text(cfg),
            *_text_alone(cfg),
            *_alone(cfg),
            *_text_parts(cfg, folder),
            *_search(cfg, folder),
            *_derivation(cfg),
            *_progress(cfg),
        ]
    return [*_augmentation(cfg), *_alone(cfg), *_data(cfg), *_search(cfg, folder), *_derivation(cfg), *_evaluation(cfg), *_progress(cfg)]


def _search(cfg: Config, folder: Path) -> list[str]:
    if cfg.derive.genotype != "search":
        return []
    return [*_computation(cfg), *_curvature(cfg), *_nothing_of_its_own(cfg), *_stops(cfg, folder), *_halving(cfg)]


def _computation(cfg: Config) -> Iterator[str]:
    method, search = build_method(cfg), cfg.search
    if isinstance(method.select, TrainedAlone):
        for key in ("backend", "memory", "memory_budget_mib"):
            value, usual = getattr(search, key), type(search).model_fields[key].default
            if value != usual and not (key == "memory_budget_mib" and isinstance(cfg, TextConfig)):
                back = "null" if usual is None else usual
                yield f"search.{key}: {value} has no effect: {cfg.method.name} has no supernet, it trains architectures alone. Set {back}."
    elif search.memory_budget_mib is not None and method.arch_gradient.graphs > 1:
        yield (
            f"search.memory_budget_mib: {search.memory_budget_mib:g} decides nothing with method.arch_gradient: exact, of which lean would "
            "save nothing. Set null."
        )


def _text(cfg: TextConfig) -> Iterator[str]:
    if cfg.data.options.get("reference_split") and "train_portion" in cfg.search.model_fields_set and cfg.derive.genotype == "search":
        yield f"search.train_portion: {cfg.search.train_portion} has no effect: data.reference_split is true, so alpha has another text."
    if cfg.retrain.nonmono and 0 < cfg.retrain.epochs <= cfg.retrain.nonmono + 2:
        yield f"retrain.nonmono: {cfg.retrain.nonmono} has no effect: retrain.epochs is {cfg.retrain.epochs}, so nothing is averaged."
    name, own = cfg.derive.genotype, text_space(cfg).shape.nodes
    if name in published_names() and cfg.retrain.random_genotypes and (nodes := len(published(name).cell("normal").nodes)) != own:
        yield f"space.nodes: {own} gives the random cells of retrain.random_genotypes another size than {name}'s. Set it to {nodes}."
    if cfg.search.memory_budget_mib is not None and cfg.derive.genotype == "search":
        yield f"search.memory_budget_mib: {cfg.search.memory_budget_mib:g} has no effect: recurrent cells have no lean mode. Set null."
    if cfg.runtime.num_workers and "num_workers" in cfg.runtime.model_fields_set:
        yield f"runtime.num_workers: {cfg.runtime.num_workers} has no effect: a text needs no decoding. Set it to 0."


def _text_alone(cfg: TextConfig) -> Iterator[str]:
    if cfg.derive.genotype != "search" or not isinstance(build_method(cfg).select, TrainedAlone):
        return
    for key, same in (("momentum", 0.0), ("lr_min", cfg.search.lr)):  # what its training does anyway
        value, usual = getattr(cfg.search, key), type(cfg.search).model_fields[key].default
        if value not in (usual, same):
            yield (
                f"search.{key}: {value:g} has no effect: {cfg.method.name} trains each text model alone, by plain SGD whose learning rate "
                f"stays at search.lr. Set it to {same:g}."
            )


def _alone(cfg: Config) -> Iterator[str]:
    if cfg.derive.genotype != "search" or "epochs" not in cfg.search.model_fields_set:
        return
    select, epochs = build_method(cfg).select, cfg.search.epochs
    if isinstance(select, TrainedAlone) and select.epochs not in (None, epochs):
        yield f"search.epochs: {epochs} has no effect: method.train_epochs is {select.epochs}. Set that to null, or both to the same."


def _text_parts(cfg: TextConfig, folder: Path) -> Iterator[str]:
    options = cfg.data.options
    if not {"root", "test_fraction"} <= options.keys():
        return
    try:
        own = part_files(folder / str(options["root"])).get("test")
    except (ValueError, OSError):  # prepare_data will say so
        return
    if own is not None:
        yield f"data.test_fraction: {options['test_fraction']} has no effect: data.root has a test text of its own, {own.name}."


def _augmentation(cfg: Config) -> Iterator[str]:
    is_searched = cfg.derive.genotype == "search"
    wanted = [key for key, on in (("search.cutout", cfg.search.cutout and is_searched), ("retrain.cutout", cfg.retrain.cutout)) if on]
    length = cfg.augment.cutout_length
    if length and not wanted:
        read = "search.cutout and retrain.cutout are false" if is_searched else "retrain.cutout is false and no search runs"
        yield f"augment.cutout_length: {length} has no effect: {read}. Set one that runs to true, or this to null."
    if length == 0:
        yield from (f"{key}: true has no effect: augment.cutout_length is 0. Set that to null, or this to false." for key in wanted)


def _data(cfg: Config) -> Iterator[str]:
    options = cfg.data.options
    if "resize" in options and "image_size" in DATASETS.options(cfg.data.name) and options.get("image_size") is None:
        yield f"data.resize: {options['resize']} has no effect: data.image_size is null, so images stay as they are. Set a size."


def _curvature(cfg: Config) -> Iterator[str]:
    method, epochs = build_method(cfg), cfg.search.epochs
    every = cfg.search.hessian_every or method.hessian_every
    if cfg.search.hessian_every > epochs:
        yield f"search.hessian_every: {every} has no effect: search.epochs is {epochs}, so the curvature is never measured."
    for rule in method.stop:
        if isinstance(rule, CurvatureRise) and (why := rule.why_never(every, warmup_epochs=method.warmup_epochs, epochs=epochs)):
            yield f"method.name: {cfg.method.name} ends no search here: {why}"


def _nothing_of_its_own(cfg: Config) -> Iterator[str]:
    method = build_method(cfg)
    perturb = method.perturb
    found = {
        "skip_weight: 0": method.auxiliary_skip is not None and method.auxiliary_skip(0.0) == 0.0,
        "decay_scale: 0": any(isinstance(penalty, BetaDecay) and penalty.scale == 0.0 for penalty in method.penalties),
        "radius_end: 0, as method.radius_start,": isinstance(perturb, RandomPerturbation | AdversarialPerturbation)
        and perturb.radius.start == perturb.radius.end == 0.0,
    }
    yield from (
        f"method.{key} leaves {cfg.method.name} nothing of its own: it searches as darts does. Set it above 0."
        for key, is_so in found.items()
        if is_so
    )


def _stops(cfg: Config, folder: Path) -> Iterator[str]:
    method = build_method(cfg)
    moving = spans(method.phases, cfg.search.epochs)[-1].epochs - method.warmup_epochs
    for rule in method.stop:
        if isinstance(rule, StableRanking) and rule.epochs > moving:
            where = "(search.epochs) in all" if len(method.phases) == 1 else "in the last phase, a share of search.epochs"
            yield f"method.stable_epochs: {rule.epochs} has no effect: alpha moves for {moving} epochs {where}."
        if isinstance(rule, SkipLimit) and "skip_connect" not in build_space(cfg, folder=folder).primitives:
            yield f"method.name: {cfg.method.name} ends no search here: space.primitives has no skip_connect to count."


def _halving(cfg: Config) -> Iterator[str]:
    select = build_method(cfg).select
    if isinstance(select, TrainedAlone) and select.halving is not None and len(select.rounds(cfg.search)) == 1:
        yield (
            f"method.halving: {select.halving} has no effect: of method.samples, {select.samples}, fewer than two would be left for a "
            f"second round. Raise that to {2 * select.halving} or more."
        )


def _derivation(cfg: Config) -> Iterator[str]:
    if cfg.derive.rule is not None and cfg.derive.genotype != "search":
        yield f"derive.rule: {cfg.derive.rule} has no effect: derive.genotype is {cfg.derive.genotype}, so nothing is derived. Set null."


def _evaluation(cfg: Config) -> Iterator[str]:
    if cfg.evaluate.weights == "best" and cfg.data.valid_fraction == 0.0:
        unless = ", unless the images come with a validation split" if "root" in cfg.data.options else ""
        yield f"evaluate.weights: best is the last epoch with data.valid_fraction: 0{unless}. Set it to last, or keep images to choose by."


def _progress(cfg: Config) -> Iterator[str]:
    networks = 1 + len(cfg.retrain.baselines) + cfg.retrain.random_genotypes
    if cfg.runtime.progress == "bar" and min(cfg.runtime.processes, networks) > 1:
        yield f"runtime.progress: bar gives lines in retrain: bars of {cfg.runtime.processes} processes would overwrite one another."
