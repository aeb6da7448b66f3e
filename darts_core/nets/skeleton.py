"""Stem -> cells -> head: the frame that the supernet and the discrete network share (quark0/darts, cnn/model.py, model_search.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from darts_core.genotype import LAYERS

Stem = Literal["cifar", "imagenet"]
CellName = Literal["normal", "reduction"]
STEM_MULTIPLIER = 3


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """Where a cell stands: its width, the widths of its inputs, and whether it or its predecessor halves the resolution.

    ``fits_inputs`` says whether the cell begins with blocks that fit its two inputs to its width; else they have it already. With a ``row``
    the cell is one layer of a chain: that node of the genotype's ``layers``, that edge of the supernet. With ``halvings`` it is all layers:
    ahead of these nodes all states are halved, and their channels doubled.
    """

    channels_in: tuple[int, ...]
    channels: int
    is_reduction: bool
    follows_reduction: bool
    fits_inputs: bool = True
    row: int | None = None
    halvings: tuple[int, ...] = ()

    def channels_at(self, node: int) -> int:
        """Return the channels of a node, counted from 0."""
        return self.channels * 2 ** sum(halving <= node for halving in self.halvings)

    @property
    def cell_type(self) -> str:
        """``normal``, ``reduce`` or ``layers``."""
        if self.row is not None or self.halvings:
            return LAYERS
        return "reduce" if self.is_reduction else "normal"


class BlockPlan(Protocol):
    """Where something else than a cell stands, of which there is nothing to search."""

    def build(self) -> nn.Module:
        """Return it: one state -> one state."""
        ...


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """What stands around the cells. ``stem`` maps images to the states that the first cell reads, two or one.

    ``head`` maps the last state to what is pooled for the classifier, of ``channels`` channels.
    """

    stem: nn.Module
    plans: Sequence[CellPlan | BlockPlan]
    head: nn.Module
    channels: int


class Frame(Protocol):
    """Which skeleton a space has."""

    def check(self, *, layers: int, stem: Stem, auxiliary: bool, section: str) -> None:
        """Raise ``ValueError`` that names the key of ``section`` where there is no such network."""
        ...

    def build(self, *, in_channels: int, init_channels: int, layers: int, stem: Stem, width: Mapping[str, int]) -> Skeleton:
        """Return the skeleton; ``width`` gives for each cell type how many states its output concatenates."""
        ...


def reduction_layers(layers: int) -> set[int]:
    """Return the layers that halve the resolution: at one and two thirds of the depth."""
    return {layers // 3, 2 * layers // 3}


def plan_cells(init_channels: int, reductions: Sequence[bool], *, stem: Stem, width: Mapping[str, int]) -> Iterator[CellPlan]:
    """Yield the plan of each cell, which is a reduction or not; ``width`` says for each type how many states its output concatenates."""
    before = last = init_channels if stem == "imagenet" else STEM_MULTIPLIER * init_channels
    channels, follows_reduction = init_channels, stem == "imagenet"
    for is_reduction in reductions:
        channels = channels * 2 if is_reduction else channels
        plan = CellPlan(channels_in=(before, last), channels=channels, is_reduction=is_reduction, follows_reduction=follows_reduction)
        yield plan
        before, last, follows_reduction = last, channels * width[plan.cell_type], is_reduction


class CifarStem(nn.Module):
    """3x3 convolution and BatchNorm: (B, C_in, H, W) -> twice (B, 3C, H, W), the inputs of the first cell."""

    def __init__(self, in_channels: int, init_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, STEM_MULTIPLIER * init_channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(STEM_MULTIPLIER * init_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two inputs of the first cell."""
        s = self.bn(self.conv(x))
        return s, s


class ImageNetStem(nn.Module):
    """Three strided 3x3 convolutions: (B, C_in, H, W) -> (B, C, H/4, W/4) and (B, C, H/8, W/8)."""

    def __init__(self, in_channels: int, init_channels: int) -> None:
        super().__init__()
        half = max(1, init_channels // 2)
        self.conv1 = nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, init_channels, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(init_channels)
        self.conv3 = nn.Conv2d(init_channels, init_channels, 3, stride=2, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(init_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two inputs of the first cell."""
        s0 = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return s0, self.bn3(self.conv3(F.relu(s0)))


def build_stem(stem: Stem, in_channels: int, init_channels: int) -> nn.Module:
    """Return the stem called ``cifar`` or ``imagenet``."""
    return (ImageNetStem if stem == "imagenet" else CifarStem)(in_channels, init_channels)


@dataclass(frozen=True)
class DartsFrame:
    """Normal cells with a reduction cell at one and two thirds of the depth; each reads the two before it (arXiv:1806.09055).

    Or, with ``cells``, normal and reduction cells in that order; ``key`` is where they are named.
    """

    cells: tuple[CellName, ...] | None = None
    key: str = "space.cells"

    def check(self, *, layers: int, stem: Stem, auxiliary: bool, section: str) -> None:
        """Raise ``ValueError`` for a supernet without a normal cell; a discrete network of any depth can be built."""
        if self.cells is not None:
            if layers != len(self.cells):
                raise ValueError(f"{section}.layers must be {len(self.cells)}, the number of {self.key}. Got {layers}.")
        elif section == "space" and layers < 3:
            raise ValueError(
                f"space.layers must be at least 3, for the supernet to have a normal cell beside two reductions. Got {layers}."
            )

    def build(self, *, in_channels: int, init_channels: int, layers: int, stem: Stem, width: Mapping[str, int]) -> Skeleton:
        """Return the skeleton; ``width`` gives for each cell type how many states its output concatenates."""
        if self.cells is None:
            reductions = [layer in reduction_layers(layers) for layer in range(layers)]
        else:
            reductions = [cell == "reduction" for cell in self.cells]
        plans = tuple(plan_cells(init_channels, reductions, stem=stem, width=width))
        channels = plans[-1].channels * width[plans[-1].cell_type]
        return Skeleton(stem=build_stem(stem, in_channels, init_channels), plans=plans, head=nn.Identity(), channels=channels)


class AuxiliaryHead(nn.Module):
    """A second classifier at two thirds of the depth: (B, C, H, W) -> logits (B, K).

    Two overlapping average windows a side, as the reference has them at 8 pixels (CIFAR: 5 wide, 3 apart) and at 7 (ImageNet: 5 wide,
    2 apart); other sizes get windows by the same rule. The ImageNet head has no second BatchNorm: the reference left it out, and its
    counts say so.
    """

    def __init__(self, channels: int, num_classes: int, *, stem: Stem) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 128, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(128)
        self.conv2 = nn.Conv2d(128, 768, 2, bias=False)
        self.bn2 = nn.BatchNorm2d(768) if stem == "cifar" else nn.Identity()
        self.classifier = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = F.relu(self.bn1(self.conv1(_two_by_two(F.relu(x)))))
        return self.classifier(F.relu(self.bn2(self.conv2(x))).flatten(1))


def _two_by_two(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    if min(height, width) < 2:
        return F.adaptive_avg_pool2d(x, 2)
    stride = (max(1, height // 2 - 1), max(1, width // 2 - 1))
    return F.avg_pool2d(x, (height - stride[0], width - stride[1]), stride=stride)


def pooled(x_BCHW: Tensor) -> Tensor:
    """Return the mean over the pixels: (B, C, H, W) -> (B, C)."""
    return F.adaptive_avg_pool2d(x_BCHW, 1).flatten(1)
