"""Candidate operations. Each is a module built as ``OPS.get(name)(channels, stride=..., affine=...)``: (B, C, H, W) -> (B, C, H', W')."""

from torch import nn

from darts_core.registry import Registry, discover

OPS: Registry[nn.Module] = Registry("operation", key="space.primitives")

discover(__name__)
