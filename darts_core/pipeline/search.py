"""search: prepared data -> alphas, their history, the supernet's weights."""

from __future__ import annotations

import json
import logging
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from darts_core.components import build_space, text_space
from darts_core.config import Config, TextConfig
from darts_core.data import Batches, Cycle, Prepared, PreparedText, check_columns, columns, open_prepared, open_text, resolve_policy
from darts_core.data.windows import Windows
from darts_core.engine.alone import TrainAlone, search_alone, state_name
from darts_core.engine.loop import Log, no_log
from darts_core.engine.search import SearchData, search
from darts_core.engine.search_result import SearchResult
from darts_core.engine.watch import cell_metrics
from darts_core.methods import METHODS
from darts_core.nets.baselines import BASELINES
from darts_core.pipeline.named_files import hashes, named_files
from darts_core.pipeline.places import PREPARED, SEARCH, write_json
from darts_core.pipeline.rank_disorder import rank_probe
from darts_core.pipeline.short_training import ShortTraining
from darts_core.pipeline.stage import Stage, circumstances
from darts_core.report.history import step_of
from darts_core.report.search import draw_search, save_tables
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.seed import seeded, stream
from darts_core.runtime.session import Session
from darts_core.search.method import Method, check_warmup
from darts_core.search.select import TrainedAlone
from darts_core.search.stop import main_cell
from darts_core.spaces.space import Space

SCHEMA_VERSION = 1
log = logging.getLogger(__name__)


def run(stage: Stage) -> None:
    """Search a cell, or, where ``derive.genotype`` names another one, leave word that none was needed."""
    if stage.cfg.derive.genotype != "search":
        if isinstance(stage.cfg, TextConfig):
            _check_training(stage.cfg, open_text(PREPARED))
        log.info("search: skipped, derive.genotype is %s.", stage.cfg.derive.genotype)
        shutil.rmtree(SEARCH, ignore_errors=True)
        _save_arch({"searched": False})
        stage.metrics({})
        save_tables([], [], [], stage.reports)
        return
    prepared = open_text(PREPARED) if isinstance(stage.cfg, TextConfig) else open_prepared(PREPARED)
    _check_training(stage.cfg, prepared)
    with _checkpoint(stage.cfg, stage.session, prepared) as checkpoint:
        stage.earlier_s = checkpoint.begin_run()
        result = search_cell(stage.cfg, prepared, stage.session, log=stage.tracker.log, checkpoint=checkpoint)
        _save(result, stage)
        stage.provenance(data_hash=prepared.spec.content_hash, computed=result.computed)
        checkpoint.finish()


def _check_training(cfg: Config, prepared: Prepared | PreparedText) -> None:
    """Raise ``ValueError`` where what ``retrain`` and ``evaluate`` need is not there: here, and not after the whole search.

    A baseline that cannot be built for these images; a text that is shorter than a batch.
    """
    if isinstance(cfg, TextConfig):
        assert isinstance(prepared, PreparedText)
        again, looks = cfg.retrain, cfg.evaluate
        for section, parts, batch_size, steps, key in (
            ("retrain", ("train", "valid"), again.batch_size, again.bptt, "bptt"),
            ("evaluate", ("valid", "test"), looks.batch_size, looks.window, "window"),
        ):
            for part in parts:  # of the test text its length alone, which the spec has
                keys = (f"{section}.batch_size", f"{section}.{key}")
                check_columns(prepared.spec.tokens[part], batch_size, steps, keys=keys, name=f"{part} text")
        return
    assert isinstance(prepared, Prepared)
    spec = prepared.spec
    with torch.device("meta"):
        for name in cfg.retrain.baselines:
            BASELINES.get(name)(in_channels=spec.channels, num_classes=spec.num_classes, image_size=min(spec.height, spec.width))


def search_cell(
    cfg: Config, prepared: Prepared | PreparedText, session: Session, *, log: Log = no_log, checkpoint: Checkpoint | None = None
) -> SearchResult:
    """Build supernet, method and batches as ``cfg`` says, each with a random stream of its own, and run the search.

    The method derives by its own rule what it watches and stops by: another ``derive.rule`` repeats no search, so it must not change one.
    """
    space, method = build_space(cfg), METHODS.build(cfg.method.name, cfg.method.options)
    if isinstance(method.select, TrainedAlone):
        return _search_alone(cfg, prepared, session, space=space, method=method, log=log, checkpoint=checkpoint)
    if isinstance(prepared, PreparedText):
        read, told = prepared.spec.vocab_size, prepared.spec.vocab_size
        data = _windows(cfg, prepared, session)
    else:
        read, told = prepared.spec.channels, prepared.spec.num_classes
        data = _images(cfg, prepared, session)
    with seeded(cfg.seed, "search weights"):
        supernet = method.supernet(
            space,
            in_channels=read,
            num_classes=told,
            generator=stream(cfg.seed, "search alphas"),
        )
    return search(
        supernet,
        method,
        space=space,
        data=data,
        cfg=cfg.search,
        device=session.device,
        progress=session.progress,
        log=log,
        checkpoint=checkpoint,
        generator=stream(cfg.seed, "search perturbation"),
        probe=rank_probe(cfg, prepared, session, checkpoint=checkpoint) if isinstance(prepared, Prepared) else None,
    )


def _search_alone(
    cfg: Config,
    prepared: Prepared | PreparedText,
    session: Session,
    *,
    space: Space,
    method: Method,
    log: Log,
    checkpoint: Checkpoint | None,
) -> SearchResult:
    """Train random architectures one by one on the images or the text for the weights; the best of them is found."""
    assert isinstance(method.select, TrainedAlone)
    check_warmup(method, cfg.search)

    @cache
    def train(epochs: int) -> TrainAlone:
        return ShortTraining(cfg, prepared, session, epochs=epochs, name=state_name, purpose="random search", checkpoint=checkpoint)

    return search_alone(
        method,
        space=space,
        rounds=method.select.rounds(cfg.search),
        rank_by=method.select.rank_by,
        train=train,
        generator=stream(cfg.seed, "random search"),
        progress=session.progress,
        log=log,
        checkpoint=checkpoint,
    )


def _windows(cfg: Config, prepared: PreparedText, session: Session) -> SearchData:
    """Return the windows of a text: those of the weights vary in length, those of alpha do not, and go round without end."""
    size, bptt = cfg.search.batch_size, text_space(cfg).bptt
    keys = ("search.batch_size", "space.bptt")
    splits = prepared.search_splits(cfg.search.train_portion, fraction=cfg.search.data_fraction)
    for part, tokens in zip(("weights", "alphas"), splits):
        name = f"part of the text that moves the {part} (search.train_portion, search.data_fraction)"
        check_columns(len(tokens), size, bptt, keys=keys, name=name)
    for_weights, for_alphas = (columns(tokens, size, bptt, keys=keys).to(session.device) for tokens in splits)
    return SearchData(
        batch_shape=(size, bptt),
        train=Windows(for_weights, bptt, generator=stream(cfg.seed, "search weight windows")),
        valid=Windows(for_alphas, bptt, is_endless=True),
        held_out=Windows(for_alphas, bptt),
    )


def _images(cfg: Config, prepared: Prepared, session: Session) -> SearchData:
    policy = resolve_policy(prepared.spec, cfg.augment, cutout=cfg.search.cutout)
    size, place = cfg.search.batch_size, {"device": session.device, "num_workers": session.num_workers}
    for_weights, for_alphas = prepared.search_splits(cfg.search.train_portion, seed=cfg.seed, fraction=cfg.search.data_fraction)
    train, valid = (
        Batches(images, size, shuffle=True, policy=policy, generator=stream(cfg.seed, f"search {name} batches"), **place)  # type: ignore[arg-type]
        for name, images in (("weight", for_weights), ("alpha", for_alphas))
    )
    shape = (min(size, max(len(for_weights), len(for_alphas))), prepared.spec.channels, prepared.spec.height, prepared.spec.width)
    # In another order than class by class, so that a single batch stands for all; the same one in each epoch.
    order = torch.randperm(len(for_alphas), generator=stream(cfg.seed, "search held-out order"))
    held_out = Batches(for_alphas.subset(order), size, shuffle=False, **place)  # type: ignore[arg-type]
    return SearchData(batch_shape=shape, train=train, valid=Cycle(valid), held_out=held_out)


def _checkpoint(cfg: Config, session: Session, prepared: Prepared | PreparedText) -> Checkpoint:
    depends = cfg.model_dump(mode="json", include={"seed", "data", "augment", "space", "method", "search"})
    # Memory changes no number: a search that ran out of it goes on in lean mode. A backend changes them by rounding alone: the search goes
    # on by whichever is named then, and provenance.json names both.
    for key in ("backend", "memory", "memory_budget_mib"):
        del depends["search"][key]
    content = {"content": prepared.spec.content_hash, "files": hashes({**named_files(cfg)["space"], **named_files(cfg)["ranks"]})}
    return Checkpoint("search", {**depends, **content, **circumstances(session)}, root=session.root)


def _save(result: SearchResult, stage: Stage) -> None:
    SEARCH.mkdir(parents=True, exist_ok=True)
    torch.save(result.supernet_state, SEARCH / "supernet.pt")
    space = build_space(stage.cfg)
    op_weights, edge_weights = (
        {cell_type: weights.tolist() for cell_type, weights in each.items()} for each in (result.op_weights, result.edge_weights)
    )
    sizes = {"space": space.name, "primitives": list(space.primitives)}
    _save_arch({"searched": True, **sizes, "op_weights": op_weights, "edge_weights": edge_weights})
    last = {**result.history[result.chosen], **cell_metrics(result.genotype, space)}
    named = {
        "search_valid_acc": "valid_acc",
        "search_valid_loss": "valid_loss",
        "search_train_acc": "train_acc",
        "search_train_loss": "train_loss",
    }
    watched = ("skip_share", f"parameterless_{main_cell(last)}", "collapsed", "rank_tau", "rank_rho", "train_ppl", "valid_ppl")
    alike = [key for key in last if key.startswith("entropy_") or key in watched]
    step = step_of(last)
    stage.metrics(
        {
            f"search_chosen_{step}": last[step],
            **{key: last[name] for key, name in named.items() if name in last},
            **{f"search_{key}": last[key] for key in alike},
        }
    )
    if result.stopped is not None:
        note = f"The search ended after epoch {result.history[-1]['epoch']}: {result.stopped}. Taken is epoch {last['epoch']}.\n"
        (stage.reports / "note.md").write_text(note, encoding="utf-8")
    stage.epochs(result.costs, prefix="search", total="search_epochs_s", step=step)
    if result.selection is not None:
        stage.resources["search_selection_s"] = result.selection["epoch_s"]
    save_tables(result.history, result.alphas, result.costs, stage.reports, ranks=result.ranks)
    draw_search(result.history, result.alphas, stage.reports, ranks=result.ranks, chosen=result.chosen)


def _save_arch(content: dict[str, Any]) -> None:
    write_json(SEARCH / "arch.json", {"schema_version": SCHEMA_VERSION, **content})


def read_arch(path: Path = SEARCH / "arch.json") -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Return the final weights ``op_EO`` and ``edge_E`` of each cell type, and what else the file says.

    Raise ``ValueError`` where no search ran.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({error}). Run: dvc repro search.") from None
    if content.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: schema_version {SCHEMA_VERSION} expected. Got {content.get('schema_version')!r}. Run: dvc repro -f search."
        )
    if not content["searched"]:
        raise ValueError(f"{path}: no search has run. Run: dvc repro search, with derive.genotype: search.")
    op_EO, edge_E = (
        {cell_type: torch.tensor(rows, dtype=torch.float64) for cell_type, rows in content.get(key, {}).items()}
        for key in ("op_weights", "edge_weights")
    )
    return op_EO, edge_E, content
