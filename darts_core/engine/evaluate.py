"""The one look at the test set: every network on the same images, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor, nn

from darts_core.config import EvaluateConfig
from darts_core.engine.evaluation import SEARCHED, Evaluation, NetworkScores, Predictions, random_mean, searched_first
from darts_core.metrics import (
    bootstrap_accuracy,
    bootstrap_difference,
    class_scores,
    confusion_matrix,
    count_macs,
    count_parameters,
    expected_calibration_error,
    label_rank,
    mcnemar_p,
    relative_improvement,
    reliability_table,
    wilson_accuracy,
)


def evaluate(
    networks: Mapping[str, nn.Module],
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    device: torch.device | str,
    cfg: EvaluateConfig,
    class_names: Sequence[str],
    seed: int,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Evaluation:
    """Run the networks over the test batches once and compare them.

    ``networks`` maps names to networks, one of them called ``searched``; those called ``random_*`` are the random architectures.
    ``batches`` yields images (B, C, H, W), normalised, and labels (B,), in a fixed order. The networks are moved to ``device``, laid out
    by ``memory_format`` and left in evaluation mode. Every bootstrap is drawn anew from ``seed``, so that none depends on which other
    networks take part.
    Raise ``ValueError`` where there is no ``searched`` network, no batch, a label outside the classes, or where a network returns
    something other than finite logits (B, K); the message names it.
    """
    order = searched_first(networks)
    for network in networks.values():
        network.to(device).to(memory_format=memory_format).eval()
    num_classes = len(class_names)
    predictions, input_shape = _predict(networks, batches, device=device, memory_format=memory_format, num_classes=num_classes)
    own = predictions[SEARCHED]
    scores = tuple(
        _score(name, predictions[name], own, network=networks[name], input_shape=input_shape, cfg=cfg, num_classes=num_classes, seed=seed)
        for name in order
    )
    confusion = confusion_matrix(own.labels, own.classes, num_classes=num_classes)
    return Evaluation(
        class_names=tuple(class_names),
        scores=scores,
        vs_random=_vs_random(scores),
        predictions=own,
        confusion=confusion,
        per_class=class_scores(confusion),
        reliability=reliability_table(own.confidences, own.hits, num_bins=cfg.calibration_bins),
    )


def _predict(
    networks: Mapping[str, nn.Module],
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    device: torch.device | str,
    memory_format: torch.memory_format,
    num_classes: int,
) -> tuple[dict[str, Predictions], tuple[int, int, int]]:
    seen: dict[str, list[Predictions]] = {name: [] for name in networks}
    input_shape, num_images = (0, 0, 0), 0
    for x_BCHW, label_B in batches:
        _, channels, height, width = x_BCHW.shape
        input_shape = (channels, height, width)
        label_B = label_B.cpu().long()
        if not ((label_B >= 0) & (label_B < num_classes)).all():
            raise ValueError(
                f"evaluate: the test labels must lie in 0..{num_classes - 1}. Got {label_B.min()} to {label_B.max()}. "
                "Run the stage prepare_data again."
            )
        x_BCHW = x_BCHW.to(device, memory_format=memory_format)
        for name, network in networks.items():
            with torch.inference_mode():
                logits = network(x_BCHW)
            logits_BK = _checked(logits, name, shape=(len(label_B), num_classes), first_image=num_images)
            seen[name].append(_predictions(logits_BK, label_B))
        num_images += len(label_B)
    if not num_images:
        raise ValueError("evaluate: expected at least one test image. Got none. Check data.* and run the stage prepare_data again.")
    return {name: _joined(parts) for name, parts in seen.items()}, input_shape


def _checked(logits: object, name: str, *, shape: tuple[int, int], first_image: int) -> Tensor:
    """Return the logits on the CPU in float64, where ties and rounding do not depend on the device."""
    if not isinstance(logits, Tensor) or logits.shape != shape:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"Network '{name}': expected logits of shape {shape}. Got {got}. Were its weights trained on other classes? Retrain it."
        )
    logits_BK = logits.cpu().double()
    if not (finite_B := logits_BK.isfinite().all(1)).all():
        first = first_image + int((~finite_B).nonzero()[0, 0])
        raise ValueError(
            f"Network '{name}': its logits must be finite. Got NaN or infinity, first on test image {first}. "
            "Its training has diverged: lower retrain.lr, or set retrain.amp to off, and retrain it."
        )
    return logits_BK


def _predictions(logits_BK: Tensor, label_B: Tensor) -> Predictions:
    log_probability_BK = logits_BK.log_softmax(1)
    return Predictions(
        labels=label_B.numpy(),
        classes=logits_BK.argmax(1).numpy(),
        confidences=log_probability_BK.amax(1).exp().numpy(),
        label_ranks=label_rank(logits_BK, label_B).numpy(),
        nll=-log_probability_BK.gather(1, label_B[:, None])[:, 0].numpy(),
    )


def _joined(parts: Sequence[Predictions]) -> Predictions:
    return Predictions(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Predictions)})


def _score(
    name: str,
    predictions: Predictions,
    searched: Predictions,
    *,
    network: nn.Module,
    input_shape: tuple[int, int, int],
    cfg: EvaluateConfig,
    num_classes: int,
    seed: int,
) -> NetworkScores:
    hits = predictions.hits
    own = wilson_accuracy(hits)
    resampled = bootstrap_accuracy(hits, generator=np.random.default_rng(seed), num_samples=cfg.bootstrap_samples)
    difference, paired, p_value = None, None, None
    if name != SEARCHED:
        difference = 100.0 * float(np.mean(hits) - np.mean(searched.hits))
        generator = np.random.default_rng(seed)
        paired = bootstrap_difference(hits, searched.hits, generator=generator, num_samples=cfg.bootstrap_samples)
        p_value = mcnemar_p(hits, searched.hits)
    return NetworkScores(
        name=name,
        top1=100.0 * float(hits.mean()),
        low=own.low,
        high=own.high,
        bootstrap_low=resampled.low,
        bootstrap_high=resampled.high,
        top5=100.0 * float((predictions.label_ranks < 5).mean()) if num_classes > 5 else None,
        ece=expected_calibration_error(reliability_table(predictions.confidences, hits, num_bins=cfg.calibration_bins)),
        nll=float(predictions.nll.mean()),
        params_m=count_parameters(network) / 1e6,
        macs_m=count_macs(network, input_shape=input_shape) / 1e6,
        minus_searched=difference,
        minus_searched_low=paired.low if paired else None,
        minus_searched_high=paired.high if paired else None,
        mcnemar_p=p_value,
    )


def _vs_random(scores: Sequence[NetworkScores]) -> float | None:
    mean = random_mean({row.name: row.top1 for row in scores})
    return relative_improvement(scores[0].top1, mean) if mean else None
