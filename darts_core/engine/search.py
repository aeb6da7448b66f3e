"""The search loop: arch step, weight step, for every batch of every epoch (quark0/darts, cnn/train_search.py)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darts_core.config import SearchConfig
from darts_core.engine.alphas import alpha_rows, edge_metrics, mixture_metrics
from darts_core.engine.course import Course
from darts_core.engine.epoch import train_epoch
from darts_core.engine.loop import (
    Batch,
    EpochCost,
    Loader,
    Log,
    Stateful,
    TrainingError,
    assess,
    memory_advice,
    no_log,
    require_finite,
    to_device,
)
from darts_core.engine.placing import advice
from darts_core.engine.rank_disorder import RankProbe, require_probe
from darts_core.engine.rollback import Clock, Rollback
from darts_core.engine.search_result import SearchResult
from darts_core.engine.selection import forget_answers, selected
from darts_core.engine.watch import cell_metrics, collapse_warning, has_chosen, is_bare, ranking, selection_warning, stable_epochs
from darts_core.genotype import Genotype
from darts_core.runtime.checkpoint import Checkpoint
from darts_core.runtime.progress import Progress
from darts_core.search.hessian import dominant_eigenvalue
from darts_core.search.method import Method, check_warmup, require_supernet
from darts_core.search.stop import why_stop
from darts_core.spaces.space import Space
from darts_core.supernet.recompute import BatchNormsStandStill
from darts_core.supernet.sampled import Sampled
from darts_core.supernet.supernet import Supernet

Row = dict[str, Any]
LOG = logging.getLogger(__name__)
SHOWN = ("train_loss", "train_acc", "train_ppl", "valid_loss", "valid_acc", "valid_ppl", "lr", "data_percent")


@dataclass(frozen=True, kw_only=True)
class SearchData:
    """``train`` moves the weights, ``valid`` (endless) moves alpha, ``held_out`` is what accuracy is reported on after each epoch.

    ``batch_shape`` is that of the largest training batch, (B, C, H, W), or (B, T) of a text.
    """

    batch_shape: tuple[int, ...]
    train: Loader
    valid: Iterable[Any]
    held_out: Iterable[Any]

    def streams(self) -> list[Stateful]:
        """Return the parts whose random state a checkpoint keeps."""
        return [part for part in (self.train, self.valid) if isinstance(part, Stateful)]


def search(
    supernet: Supernet,
    method: Method,
    *,
    space: Space,
    data: SearchData,
    cfg: SearchConfig,
    device: torch.device,
    progress: str = "off",
    log: Log = no_log,
    checkpoint: Checkpoint | None = None,
    generator: torch.Generator | None = None,
    probe: RankProbe | None = None,
) -> SearchResult:
    """Run ``cfg.epochs`` epochs, or fewer if the method says so, and derive the genotype of the last one.

    Go on from ``checkpoint`` where it holds a state. What a method draws at random comes from ``generator``, a CPU generator.
    ``probe`` is asked along the way how well the supernet orders architectures.

    Raise ``ValueError`` where the method's warm-up leaves no epoch in which alpha moves, or where the space does not suit its phases,
    ``TrainingError`` where a loss is not finite, the
    training set is empty, or the device's memory is full.
    """
    check_warmup(method, cfg)
    require_probe(probe, cfg)
    require_supernet(method)
    if isinstance(data.train, Sized) and len(data.train) == 0:
        raise TrainingError("The training loader has no batch: fewer images than search.batch_size with drop_last?")
    state = None if checkpoint is None else checkpoint.load("search")
    if checkpoint is not None and state is None:
        forget_answers(checkpoint)
    course = Course(
        supernet=supernet,
        method=method,
        space=space,
        cfg=cfg,
        device=device,
        batch_shape=data.batch_shape,
        batches=len(data.train),
        generator=torch.Generator().manual_seed(0) if generator is None else generator,
    )
    with memory_advice(advice(supernet, method)):
        course.begin(None if state is None else state["course"], is_over=state is not None and state["epoch"] >= cfg.epochs)
    supernet, bilevel = course.supernet, course.bilevel
    memory_format = supernet.backend.memory_format(device)
    rollback = Rollback(bilevel)
    usable = space.shape.choosable(supernet.primitives)
    history: list[Row] = []
    alphas: list[Row] = []
    costs: list[Row] = []
    ranks: list[Row] = []
    done = 0
    if state is not None:
        supernet.load_state_dict(state["supernet"])
        bilevel.load_state_dict(state["bilevel"])
        for part, saved in zip(data.streams(), state["streams"], strict=True):
            part.load_state_dict(saved)
        history, alphas, costs, ranks, done = (state[name] for name in ("history", "alphas", "costs", "ranks", "epoch"))
        rollback.load_state_dict(state["rollback"])
    reporter = Progress("search", cfg.epochs, mode=progress, done=done)
    with memory_advice(advice(supernet, method)), EpochCost(device) as cost:

        def placed(batches: Iterable[Any]) -> Iterator[Batch]:
            return cost.waiting(to_device(batches, device, memory_format))

        valid = placed(data.valid)
        for epoch in (clock := Clock(done, cfg.epochs)):
            if course.is_last and epoch > course.span.first and (reason := why_stop(method.stop, history)) is not None:
                if (back := rollback.restart(history)) is None:
                    break
                LOG.info("search: %s.", reason)
                history = history[:back]
                alphas, ranks = ([row for row in rows if row["epoch"] <= back] for rows in (alphas, ranks))
                reporter.done = clock.next = back
                continue
            if course.advance(epoch):
                supernet, bilevel = course.supernet, course.bilevel
                rollback = Rollback(bilevel)
                memory_format = supernet.backend.memory_format(device)
                valid = placed(data.valid)
            bilevel.start_epoch(epoch)
            before, is_still = ranking(supernet.mixture(), usable), course.is_still(epoch)
            lr = course.lr(epoch)
            temperature = _set_temperature(supernet, method, epoch, cfg.epochs)
            batches = reporter.batches(placed(data.train), total=len(data.train))
            row = train_epoch(bilevel, batches, valid, lr, is_still=is_still)
            require_finite(
                row["train_loss"] + row.get("arch_loss", 0.0),
                what=f"The loss of epoch {epoch + 1}",
                advice="Lower search.lr or search.arch_lr.",
            )
            row |= bilevel.prune()
            with BatchNormsStandStill(supernet):
                row["valid_loss"], row["valid_acc"] = assess(supernet, placed(data.held_out), mode=supernet.assessing)
            require_finite(row["valid_loss"], what=f"The validation loss of epoch {epoch + 1}", advice="Lower search.lr or search.arch_lr.")
            mixture = supernet.mixture()
            row |= {
                **supernet.metrics(row),
                "lr": lr,
                **temperature,
                **mixture_metrics(mixture, supernet.primitives),
                **edge_metrics(supernet.edge_mixture(), space.edge_names),
                **cell_metrics(_derive(supernet, method, space, mixture), space),
                "stable_epochs": stable_epochs(history[course.span.first :], before, ranking(mixture, usable), is_still=is_still),
            }
            row |= rollback.row()
            row["undecided"] = int(not has_chosen(mixture))
            row["collapsed"] = int(is_bare([*history, row]) and not row["undecided"])
            if len(method.phases) > 1:
                row["phase"] = course.number + 1
            if method.penalties:
                row["penalty"] = float(bilevel.penalty().detach())
            if (every := cfg.hessian_every or method.hessian_every) and (epoch + 1) % every == 0:
                row["hessian"] = _curvature(supernet, next(placed(data.held_out)))
            if probe is not None and probe.is_due(epoch + 1):
                found, compared = probe.compare(supernet, epoch + 1, device=device, memory_format=memory_format)
                row |= found
                ranks += compared
            history.append({"epoch": epoch + 1, **row})
            if (warning := collapse_warning(history, is_last=epoch + 1 == cfg.epochs)) is not None:
                LOG.warning("search: %s", warning)
            alphas += alpha_rows(epoch + 1, mixture, space.edge_names, supernet.primitives)
            rollback.note(history)
            costs.append({"epoch": epoch + 1, **cost.lap()})
            if checkpoint is not None:
                checkpoint.save(
                    "search",
                    {
                        "epoch": epoch + 1,
                        "course": course.state_dict(),
                        "supernet": supernet.state_dict(),
                        "bilevel": bilevel.state_dict(),
                        "streams": [part.state_dict() for part in data.streams()],
                        "history": history,
                        "alphas": alphas,
                        "costs": costs,
                        "ranks": ranks,
                        "rollback": rollback.state_dict(),
                    },
                )
            row |= {name: value for name, value in costs[-1].items() if name != "epoch"}
            log(row, epoch + 1)
            reporter.epoch({name: row[name] for name in SHOWN if name in row})
        if (back := rollback.go_back(history)) is not None:
            LOG.info("search: takes the architecture of epoch %d.", back)
        chosen = -1 if back is None else [row["epoch"] for row in history].index(back)
        if method.select is None:
            op_weights, selection = supernet.mixture(), None
        else:
            _set_temperature(supernet, method, len(history) - 1, cfg.epochs)  # a resumed search may have had no epoch
            op_weights, earlier_s = selected(
                bilevel,
                course.space,
                train=data.train,
                valid=valid,
                held_out=data.held_out,
                place=placed,
                streams=data.streams(),
                checkpoint=checkpoint,
            )
            selection = cost.lap()
            selection["epoch_s"] += earlier_s
    reporter.close()
    stopped = why_stop(method.stop, history) if len(history) < cfg.epochs else None
    if stopped is not None:
        LOG.info("search: ended after epoch %d of %d: %s.", len(history), cfg.epochs, stopped)
    genotype = method.derived(
        op_weights, primitives=supernet.primitives, shape=space.shape, space=space.name, edge_E=supernet.edge_mixture()
    )
    if method.select is not None and (warning := selection_warning(genotype, space)) is not None:
        LOG.warning("search: %s", warning)
    return SearchResult(
        genotype=genotype,
        history=history,
        alphas=alphas,
        costs=costs,
        ranks=ranks,
        selection=selection,
        computed=course.computed,
        stopped=stopped,
        op_weights=op_weights,
        edge_weights=supernet.edge_mixture(),
        supernet_state={name: value.detach().cpu() for name, value in supernet.state_dict().items()},
        chosen=chosen,
    )


def _derive(supernet: Supernet, method: Method, space: Space, op_EO: Mapping[str, Tensor]) -> Genotype:
    return method.derive(op_EO, primitives=supernet.primitives, shape=space.shape, space=space.name, edge_E=supernet.edge_mixture())


def _curvature(supernet: Supernet, batch: Batch) -> float:
    """Return the dominant eigenvalue on ``batch``, always from the same first vector: it changes nothing else of the search."""
    return dominant_eigenvalue(supernet, F.cross_entropy, batch, generator=torch.Generator().manual_seed(0))


def _set_temperature(supernet: Supernet, method: Method, epoch: int, epochs: int) -> Row:
    """Give the relaxation the temperature of ``epoch`` and return it for the log; nothing where the method has none."""
    if method.temperature is None:
        return {}
    assert isinstance(supernet.relax, Sampled)
    supernet.relax.temperature = method.temperature(epoch, epochs)
    return {"temperature": supernet.relax.temperature}
