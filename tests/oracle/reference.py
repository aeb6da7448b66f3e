"""Comparison with the published reference's numbers: one function a file of ../shared/reference, yielding (name, fault or None)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F

from darts_core.config import SearchConfig
from darts_core.genotype import published
from darts_core.methods import METHODS
from darts_core.metrics import count_macs, count_parameters
from darts_core.nets.network import Network
from darts_core.ops.native import library as kernels
from darts_core.search.derive import strongest_edges
from darts_core.search.steps import Bilevel
from darts_core.spaces import SPACES
from darts_core.spaces.darts_cnn import DARTS_PRIMITIVES
from darts_core.supernet.backend import Backend, Compiled, Eager, Native, Reference
from darts_core.supernet.image import ImageSupernet
from darts_core.supernet.shape import CellShape
from darts_core.supernet.supernet import Supernet
from tests.oracle.comparison import Outcome, compare, pairs

DARTS_SHAPE = CellShape(nodes=4)
PARTIAL_NAMES = {"normal": "alphas_normal", "reduce": "alphas_reduce", "normal_edges": "betas_normal", "reduce_edges": "betas_reduce"}


def ways() -> list[tuple[Backend, bool]]:
    """Return every backend that can be had here, in either memory mode; the functions that ``compiled`` compiles, as they stand."""
    here: list[Backend] = [Reference(), Eager(), Compiled(compiles=False), *([Native()] if kernels.is_available() else [])]
    return [(backend, lean) for backend in here for lean in (False, True)]


def build_supernet(
    config: Mapping[str, object],
    params: Mapping[str, torch.Tensor],
    alphas: Mapping[str, torch.Tensor],
    order: str,
    *,
    way: tuple[Backend, bool],
) -> tuple[Supernet, Bilevel]:
    sizes = {key: config[key] for key in ("init_channels", "layers", "nodes")}
    space = SPACES.build("darts_cnn", {**sizes, "primitives": tuple(config["primitives"])})
    method = METHODS.build("darts", {"arch_gradient": order})
    supernet = method.supernet(space, in_channels=3, num_classes=config["num_classes"], generator=torch.Generator()).double()
    weights = supernet.weights()
    assert set(weights) == set(params), "the supernet's parameter names are those of the reference"
    with torch.no_grad():
        for key, value in params.items():
            weights[key].copy_(value)
        for cell_type in ("normal", "reduce"):
            getattr(supernet.arch, cell_type).copy_(alphas[f"alphas_{cell_type}"])
    supernet.use(way[0], torch.device("cpu"), is_lean=way[1])
    cfg = SearchConfig(
        lr=config["w_lr"],
        momentum=config["w_momentum"],
        weight_decay=config["w_weight_decay"],
        grad_clip=config["grad_clip"],
        arch_lr=config["alpha_lr"],
        arch_weight_decay=config["alpha_weight_decay"],
    )
    return supernet, Bilevel(supernet, method, cfg)


def _named(way: tuple[Backend, bool]) -> str:
    return f"{way[0].name}, {'lean' if way[1] else 'normal'}"


def search_forward(root: Path) -> Iterator[Outcome]:
    data = torch.load(root / "darts_cnn_search.pt", weights_only=True)
    case = data["forward"]
    for way in ways():
        supernet, _ = build_supernet(data["config"], case["params"], case, "first", way=way)
        logits = supernet(case["x"].to(memory_format=way[0].memory_format(torch.device("cpu"))))
        loss = F.cross_entropy(logits, case["y"])
        loss.backward()
        title = f"search forward ({_named(way)})"
        yield compare(f"{title}: logits and loss", {"logits": logits, "loss": loss}, {"logits": case["logits"], "loss": case["loss"]})
        yield compare(f"{title}: gradients of all weights", {k: p.grad for k, p in supernet.weights().items()}, case["grads"])
        alphas = {f"grad_alphas_{k}": a.grad for k, a in supernet.arch.items()}
        yield compare(f"{title}: gradients of the alphas", alphas, {k: case[k] for k in alphas})


def partial_forward(root: Path) -> Iterator[Outcome]:
    case = torch.load(root / "pc_darts_search.pt", weights_only=True)
    config = case["config"]
    sizes = {key: config[key] for key in ("init_channels", "layers", "nodes")}
    space = SPACES.build("darts_cnn", {**sizes, "primitives": tuple(config["primitives"])})
    method = METHODS.build("pc_darts", {"channel_proportion": config["channel_proportion"]})
    for backend, is_lean in ways():
        supernet = method.supernet(space, in_channels=3, num_classes=config["num_classes"], generator=torch.Generator()).double()
        weights = supernet.weights()
        assert set(weights) == set(case["params"]), "the supernet's parameter names are those of the reference"
        with torch.no_grad():
            for key, value in case["params"].items():
                weights[key].copy_(value)
            for name, theirs in PARTIAL_NAMES.items():
                supernet.arch.get(name).copy_(case[theirs])
        supernet.use(backend, torch.device("cpu"), is_lean=is_lean)
        logits = supernet(case["x"].to(memory_format=backend.memory_format(torch.device("cpu"))))
        loss = F.cross_entropy(logits, case["y"])
        loss.backward()
        title = f"partial channels ({_named((backend, is_lean))})"
        yield compare(f"{title}: logits and loss", {"logits": logits, "loss": loss}, {"logits": case["logits"], "loss": case["loss"]})
        yield compare(f"{title}: gradients of all weights", {k: p.grad for k, p in supernet.weights().items()}, case["grads"])
        ours = {f"grad_{theirs}": supernet.arch.get(name).grad for name, theirs in PARTIAL_NAMES.items()}
        yield compare(f"{title}: gradients of alphas and betas", ours, {k: case[k] for k in ours})


def partial_genotypes(root: Path) -> Iterator[Outcome]:
    data = json.loads((root / "pc_darts_genotypes.json").read_text())
    method = METHODS.build("pc_darts")
    for k, case in enumerate(data["cases"]):
        given = {name: torch.tensor(case[theirs], dtype=torch.float64) for name, theirs in PARTIAL_NAMES.items()}
        op_EO = {c: method.relax(given[c]).op_EO for c in ("normal", "reduce")}
        edge_E = {c: method.relax_edges(given[f"{c}_edges"], DARTS_SHAPE.fan_in) for c in ("normal", "reduce")}
        ours = method.derive(op_EO, edge_E=edge_E, primitives=data["primitives"], shape=DARTS_SHAPE, space="darts_cnn")
        wrong = [c for c in ("normal", "reduce") if pairs(ours, c) != case[c]]
        yield f"partial genotype {k}", f"{wrong[0]}: {pairs(ours, wrong[0])}, expected {case[wrong[0]]}" if wrong else None


def trajectories(root: Path) -> Iterator[Outcome]:
    data = torch.load(root / "darts_cnn_search.pt", weights_only=True)
    for key, order in (("trajectory_first", "first"), ("trajectory_second", "unrolled")):
        case, lr = data[key], data["config"]["w_lr"]
        for way in ways():
            supernet, bilevel = build_supernet(data["config"], case["params"], case, order, way=way)
            for k, step in enumerate(case["steps"]):
                yield compare(
                    f"{key} ({_named(way)}) step {k}",
                    _take_step(supernet, bilevel, step, lr),
                    {n: v for n, v in step.items() if not n.startswith(("x_", "y_"))},
                )
            yield compare(f"{key} ({_named(way)}): all weights at the end", supernet.weights(), case["final_params"])


def _take_step(supernet: Supernet, bilevel: Bilevel, step: Mapping[str, torch.Tensor], lr: float) -> dict[str, torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}
    move = bilevel.arch_optimizer.step

    def recording_step() -> None:
        seen.update({f"grad_alphas_{k}": a.grad.clone() for k, a in supernet.arch.items()})
        move()

    bilevel.arch_optimizer.step = recording_step
    train = (step["x_train"], step["y_train"])
    bilevel.arch_step(train=train, valid=(step["x_val"], step["y_val"]), lr=lr)
    bilevel.arch_optimizer.step = move
    seen.update({f"alphas_{k}": a.detach().clone() for k, a in supernet.arch.items()})
    taken = bilevel.weight_step(train, lr=lr)
    return {**seen, "train_loss": taken.loss, "grad_norm": taken.grad_norm}


def genotypes(root: Path) -> Iterator[Outcome]:
    data = json.loads((root / "darts_cnn_genotypes.json").read_text())
    for k, case in enumerate(data["cases"]):
        op_EO = {c: torch.tensor(case[f"alphas_{c}"], dtype=torch.float64).softmax(-1) for c in ("normal", "reduce")}
        ours = strongest_edges(op_EO, primitives=data["primitives"], shape=DARTS_SHAPE, space="darts_cnn")
        wrong = [c for c in ("normal", "reduce") if pairs(ours, c) != case[c] or list(ours.cell(c).concat) != case[f"{c}_concat"]]
        yield f"genotype {k}", f"{wrong[0]}: {pairs(ours, wrong[0])}, expected {case[wrong[0]]}" if wrong else None


def _their_name(key: str) -> str:
    for ours, theirs in (("auxiliary_head.", "aux."), (".across.", ".conv1x7."), (".down.", ".conv7x1.")):
        key = key.replace(ours, theirs)
    return key


def discrete(root: Path) -> Iterator[Outcome]:
    data = torch.load(root / "darts_cnn_discrete.pt", weights_only=True)
    config = data["config"]
    for name, case in data["cases"].items():
        has_aux = case["logits_aux"] is not None
        network = Network(
            published(name),
            in_channels=3,
            num_classes=config["num_classes"],
            init_channels=config["init_channels"],
            layers=config["layers"],
            auxiliary=has_aux,
        ).double()
        parameters = {_their_name(k): p for k, p in network.named_parameters()}
        with torch.no_grad():
            for key, value in case["params"].items():
                parameters[key].copy_(value)
        out = network(case["x"])
        logits, auxiliary = out if has_aux else (out, None)
        loss = F.cross_entropy(logits, case["y"]) + (config["auxiliary_weight"] * F.cross_entropy(auxiliary, case["y"]) if has_aux else 0.0)
        loss.backward()
        seen = {"logits": logits, "loss": loss, **({"logits_aux": auxiliary} if has_aux else {})}
        yield compare(f"{name}: training logits and loss", seen, {k: case[k] for k in seen})
        yield compare(f"{name}: all gradients", {k: p.grad for k, p in parameters.items()}, case["grads"])
        key = "eval_logits_after_one_train_forward"
        yield compare(f"{name}: evaluation logits", {key: network.eval()(case["x"])}, {key: case[key]})


def build_network(name: str, *, kind: str, channels: int, layers: int, classes: int, auxiliary: bool) -> Network:
    with torch.device("meta"):
        return Network(
            published(name),
            in_channels=3,
            num_classes=classes,
            init_channels=channels,
            layers=layers,
            stem="imagenet" if kind == "imagenet" else "cifar",
            auxiliary=auxiliary,
        )


def parameter_counts(root: Path) -> Iterator[Outcome]:
    for row in json.loads((root / "darts_param_counts.json").read_text())["rows"]:
        sizes = {"channels": row["init_channels"], "layers": row["layers"], "classes": row["num_classes"]}
        if row["network"] == "search":
            with torch.device("meta"):
                supernet = ImageSupernet(
                    DARTS_PRIMITIVES,
                    shape=DARTS_SHAPE,
                    init_channels=sizes["channels"],
                    layers=sizes["layers"],
                    stem="cifar",
                    in_channels=3,
                    num_classes=sizes["classes"],
                    relax=METHODS.build("darts").relax,
                    mixed=METHODS.build("darts").mixed,
                    generator=torch.Generator(),
                )
            yield equal(f"supernet {sizes}", sum(p.numel() for p in supernet.weights().values()), row["params"])
            continue
        network = build_network(row["genotype"], kind=row["network"], auxiliary=True, **sizes)
        counted = count_parameters(network)
        everything = sum(p.numel() for p in network.parameters())
        yield equal(f"{row['genotype']} {row['network']} {sizes}: parameters", counted, row["params_without_aux"])
        yield equal(f"{row['genotype']} {row['network']} {sizes}: auxiliary head", everything - counted, row["params_aux"])


def params_and_macs(root: Path) -> Iterator[Outcome]:
    kinds = (("cifar", "cifar", 36, 20, 10, 32), ("in", "imagenet", 48, 14, 1000, 224))
    for name, row in json.loads((root / "params_and_macs.json").read_text()).items():
        for key, kind, channels, layers, classes, size in kinds:
            network = build_network(name, kind=kind, channels=channels, layers=layers, classes=classes, auxiliary=True)
            yield equal(f"{name} {kind}: parameters", count_parameters(network), row[f"{key}_params"])
            yield equal(f"{name} {kind}: with auxiliary head", sum(p.numel() for p in network.parameters()), row[f"{key}_params_aux"])
            macs = count_macs(network, input_shape=(3, size, size))
            off = abs(macs - row[f"{key}_macs"]) / row[f"{key}_macs"]
            yield f"{name} {kind}: MACs", None if off <= 1e-3 else f"{macs}, expected {row[f'{key}_macs']} within 0.1 %"


def equal(name: str, ours: int, theirs: int) -> Outcome:
    return name, None if ours == theirs else f"{ours}, expected {theirs}"


CHECKS = {
    "darts_cnn_search.pt (forward)": search_forward,
    "darts_cnn_search.pt (trajectories)": trajectories,
    "darts_cnn_genotypes.json": genotypes,
    "pc_darts_search.pt": partial_forward,
    "pc_darts_genotypes.json": partial_genotypes,
    "darts_cnn_discrete.pt": discrete,
    "darts_param_counts.json": parameter_counts,
    "params_and_macs.json": params_and_macs,
}
