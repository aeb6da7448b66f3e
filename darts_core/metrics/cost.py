"""What a network costs, in the convention of the DARTS paper: parameters and multiply-accumulate operations (MACs)."""

from __future__ import annotations

import logging
from itertools import chain

import torch
from torch import nn


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights of the network that is deployed, each counted once.

    Left out are the auxiliary head (parameters with ``auxiliary`` in their name; it exists for training alone, and the paper's
    figures leave it out: quark0/darts, cnn/utils.py), and the architecture parameters, which are those that a module returns from
    ``arch_parameters()``.
    """
    arch = {
        id(parameter) for module in network.modules() if callable(own := getattr(module, "arch_parameters", None)) for parameter in own()
    }
    return sum(p.numel() for name, p in network.named_parameters() if "auxiliary" not in name and id(p) not in arch)


def count_macs(network: nn.Module, *, input_shape: tuple[int, int, int]) -> int:
    """Return the MACs of one image of shape (C, H, W) in evaluation mode: convolutions and linear layers.

    Batch normalisation, activations, pooling, additions and biases are not counted, nor is what does not run in evaluation mode
    (the auxiliary head). Published figures for DARTS networks on ImageNet lie 3 to 8 % higher, by conventions that their papers do
    not state. Runs the network once on its own device; its weights, statistics and modes are left as they were.
    """
    # Without triton, as on gfx803, the counter logs on import that it will miss triton kernels; there are none in these networks.
    logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
    from torch.utils.flop_counter import FlopCounterMode

    buffers = (buffer for buffer in network.buffers() if buffer.is_floating_point())  # a BatchNorm may have nothing else
    like = next(chain(network.parameters(), buffers), torch.empty(0))
    x_1CHW = torch.zeros(1, *input_shape, device=like.device, dtype=like.dtype)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(x_1CHW)
    finally:
        for module, mode in modes:
            module.training = mode
    return int(counter.get_total_flops()) // 2
