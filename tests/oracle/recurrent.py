"""Comparison with the published recurrent reference's numbers: darts_rnn.pt and darts_rnn_genotypes.json, as in reference.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.config import SearchConfig
from darts_core.data.windows import Window
from darts_core.genotype import published
from darts_core.methods import METHODS
from darts_core.nets.dropout import Dropout
from darts_core.ops.native import library as kernels
from darts_core.search.derive import strongest_edges
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.supernet.backend import BACKENDS
from darts_core.supernet.recurrent import RecurrentSupernet
from darts_core.supernet.shape import CellShape
from tests.oracle.comparison import Outcome, compare, pairs

CPU = torch.device("cpu")
BACKENDS_HERE = [name for name in RecurrentSupernet.backends if name != "native" or kernels.is_available(kernels.RECURRENT)]
PUBLISHED = {"ENAS": "ENAS_RNN", "DARTS_V1": "DARTS_RNN_V1", "DARTS_V2": "DARTS_RNN_V2"}
NAMES = {"embedding.weight": "embedding.weight", "bias": "decoder.bias", "core.first.W0": "cell.W0"}
CHAOTIC = 1e-6
"""What is asked of gradients behind the second order's first step. The reference's cell, untrained and without dropout, multiplies a change
of one unit in the last place of its weights by 1e9 in the alpha gradients of the third step (docs/LOG.md), and ours comes as near."""


def neutral(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters by the names that the file has."""
    short = {name.removeprefix("model."): p for name, p in parameters.items()}
    return {NAMES.get(name, name.replace("core.W.", "cell.W.")): p for name, p in short.items()}


def fill(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    assert set(parameters) == set(values), "the names are those of the reference"
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)


def build(data: Mapping[str, Any], case: Mapping[str, Any], order: str, backend: str) -> tuple[RecurrentSupernet, Bilevel]:
    config = data["config"]
    dropouts = {f"dropout_{name}": 0.0 for name in ("embedding", "inputs", "gates", "hidden", "outputs")}
    penalties = {"activation_penalty": case.get("activation_regularisation", 0.0), "slowness_penalty": case.get("slowness", 0.0)}
    sizes = {"hidden": config["hidden"], "nodes": config["nodes"], "bptt": config["bptt"]}
    space = SPACES.build("darts_rnn", {**sizes, **dropouts, **penalties, "primitives": tuple(config["primitives"])})
    method = METHODS.build("darts", {"arch_gradient": order})
    words = config["vocabulary"]
    supernet = method.supernet(space, in_channels=words, num_classes=words, generator=torch.Generator()).double()
    assert isinstance(supernet, RecurrentSupernet)
    fill(neutral(supernet.weights()), case["params"])
    fill(dict(supernet.arch.items()), {"normal": case["alphas"]})
    supernet.use(BACKENDS[backend](), CPU)
    cfg = SearchConfig(
        lr=case.get("w_lr", 1.0),
        lr_min=0.0,
        momentum=0.0,
        weight_decay=case.get("w_weight_decay", 0.0),
        grad_clip=case.get("clip", 0.0),
        arch_lr=case.get("alpha_lr", 1.0),
        arch_weight_decay=case.get("alpha_weight_decay", 0.0),
    )
    return supernet, Bilevel(supernet, method, cfg)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in neutral(dict(module.named_parameters())).items() if p.grad is not None}


def search_forward(root: Path) -> Iterator[Outcome]:
    data = torch.load(root / "darts_rnn.pt", weights_only=True)
    case = data["search_forward"]
    for backend in BACKENDS_HERE:
        supernet, _ = build(data, case, "first", backend)
        window = Window(case["x"], case["hidden"])
        loss = F.cross_entropy(supernet(window), case["y"])
        loss.backward()
        title = f"recurrent search ({backend})"
        seen = {"loss": loss, "hidden_next": window.next_state, "grad_alphas": supernet.arch.get("normal").grad}
        yield compare(f"{title}: loss, state, alpha gradients", seen, {name: case[name] for name in seen})
        yield compare(f"{title}: gradients of all weights", gradients(supernet), case["grads"])


def trajectories(root: Path) -> Iterator[Outcome]:
    data = torch.load(root / "darts_rnn.pt", weights_only=True)
    for key, order in (("trajectory_first", "first"), ("trajectory_second", "unrolled")):
        case = data[key]
        for backend in BACKENDS_HERE:
            supernet, bilevel = build(data, case, order, backend)
            states: list[Tensor | None] = [None, None]
            for k, step in enumerate(case["steps"]):
                seen, states = _take_step(supernet, bilevel, step, case["w_lr"], states)
                amplified = {"grad_alphas", "grad_norm", "hidden_train", "hidden_val"} if order == "unrolled" and k else set()
                title = f"{key} ({backend}) step {k}"
                yield compare(title, seen, {name: step[name] for name in seen if name not in amplified})
                if amplified:
                    yield compare(f"{title}: gradients and states", seen, {name: step[name] for name in amplified}, tolerance=CHAOTIC)
            yield compare(f"{key} ({backend}): all weights at the end", neutral(supernet.weights()), case["final_params"])


def _take_step(
    supernet: RecurrentSupernet, bilevel: Bilevel, step: Mapping[str, Tensor], lr: float, states: list[Tensor | None]
) -> tuple[dict[str, Tensor], list[Tensor | None]]:
    seen: dict[str, Tensor] = {}
    train, valid = Window(step["x_train"], states[0]), Window(step["x_val"], states[1])
    alpha = supernet.arch.get("normal")
    hook = bilevel.arch_optimizer.register_step_pre_hook(lambda *_: seen.update(grad_alphas=alpha.grad.clone()))
    bilevel.arch_step(train=(train, step["y_train"]), valid=(valid, step["y_val"]), lr=lr)
    hook.remove()
    seen["alphas"] = alpha.detach().clone()
    taken = bilevel.weight_step((train, step["y_train"]), lr=lr)
    ends = {"hidden_train": train.next_state, "hidden_val": valid.next_state}
    return {**seen, **ends, "train_loss": taken.loss, "grad_norm": taken.grad_norm}, list(ends.values())


def discrete(root: Path) -> Iterator[Outcome]:
    data = torch.load(root / "darts_rnn.pt", weights_only=True)
    config, space = data["config"], SPACES.build("darts_rnn")
    for theirs, ours in PUBLISHED.items():
        case, genotype = data[f"discrete_{theirs}"], published(ours)
        recorded = data["genotypes"][theirs]
        fits = (
            pairs(genotype, "normal") == [list(edge) for edge in recorded["recurrent"]]
            and list(genotype.normal.concat) == recorded["concat"]
        )
        yield f"{theirs}: the genotype", None if fits else f"{pairs(genotype, 'normal')}, expected {recorded}"
        network = space.network(
            genotype, num_tokens=config["vocabulary"], width=config["hidden"], dropout=Dropout(), generator=torch.Generator()
        ).double()
        fill(neutral(dict(network.named_parameters())), case["params"])
        out = network(case["x"], case["hidden"])
        loss = F.cross_entropy(out.logits_NV, case["y"])
        loss.backward()
        seen = {"log_prob": out.logits_NV.log_softmax(-1).view_as(case["log_prob"]), "hidden_next": out.state_SBD, "loss": loss}
        yield compare(f"{theirs}: log-probabilities, state, loss", seen, {name: case[name] for name in seen})
        yield compare(f"{theirs}: all gradients", gradients(network), case["grads"])


def genotypes(root: Path) -> Iterator[Outcome]:
    data = json.loads((root / "darts_rnn_genotypes.json").read_text())
    shape = CellShape(nodes=8, inputs=1, kept_edges=1)
    for k, case in enumerate(data["cases"]):
        op_EO = {"normal": torch.tensor(case["alphas"], dtype=torch.float64).softmax(-1)}
        ours = strongest_edges(op_EO, primitives=data["primitives"], shape=shape, space="darts_rnn")
        fits = pairs(ours, "normal") == case["recurrent"] and list(ours.normal.concat) == case["concat"]
        yield f"recurrent genotype {k}", None if fits else f"{pairs(ours, 'normal')}, expected {case['recurrent']}"


CHECKS = {
    "darts_rnn.pt (search)": search_forward,
    "darts_rnn.pt (trajectories)": trajectories,
    "darts_rnn.pt (discrete cells)": discrete,
    "darts_rnn_genotypes.json": genotypes,
}
