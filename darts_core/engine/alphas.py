"""What a search logs of its architecture parameters: the weights that the relaxation makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def alpha_rows(epoch: int, mixture: Mapping[str, Tensor], edges: Sequence[str], primitives: Sequence[str]) -> list[dict[str, Any]]:
    """Return the long table of one epoch: epoch, cell, edge (``source-destination``), op, weight."""
    return [
        {"epoch": epoch, "cell": cell_type, "edge": edge, "op": op, "weight": weight}
        for cell_type, op_EO in mixture.items()
        for edge, weights in zip(edges, op_EO.tolist())
        for op, weight in zip(primitives, weights)
    ]


def mixture_metrics(mixture: Mapping[str, Tensor], primitives: Sequence[str]) -> dict[str, float]:
    """Return the mean weight of each operation over the edges, the mean entropy of an edge in nats, and the share of ``skip_connect``."""
    metrics: dict[str, float] = {}
    for cell_type, op_EO in mixture.items():
        op_EO = op_EO.double()
        metrics[f"entropy_{cell_type}"] = float(-(op_EO * op_EO.clamp_min(1e-30).log()).sum(-1).mean())
        for op, weight in zip(primitives, op_EO.mean(0).tolist()):
            metrics[f"alpha_{cell_type}/{op}"] = weight
    if "skip_connect" in primitives:
        metrics["skip_share"] = sum(metrics[f"alpha_{cell_type}/skip_connect"] for cell_type in mixture) / len(mixture)
    return metrics


def edge_metrics(mixture: Mapping[str, Tensor], edges: Sequence[str]) -> dict[str, float]:
    """Return the weight of each edge among those that lead to its node, ``edge_<cell>/<source-destination>``."""
    return {f"edge_{cell}/{edge}": weight for cell, edge_E in mixture.items() for edge, weight in zip(edges, edge_E.tolist())}
