"""The controller of ENAS: an LSTM that decides on an architecture, decision by decision (Pham et al., ICML 2018, arXiv:1802.03268)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from darts_core.supernet.policy import Drawn, Joint
from darts_core.supernet.sampled import Active, Weights
from darts_core.supernet.shape import CellShape

START = 0.1  # parameters begin evenly within plus and minus this
