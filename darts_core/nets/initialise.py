"""The starting weights of the baselines."""

from __future__ import annotations

from torch import nn


def kaiming_(network: nn.Module) -> None:
    """Set convolutions to normal numbers of variance 2 / fan-in, BatchNorm to 1 and 0, linear layers to PyTorch's default.

    He et al., ICCV 2015 (arXiv:1502.01852), equation 10. Fan-in, because it counts what a depthwise filter sees: one channel.
    Draws from the global generator.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d | nn.Linear):
            module.reset_parameters()
