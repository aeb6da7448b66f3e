"""The recurrent space of DARTS, for language models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from darts_core.config.language import LEAST_BPTT
from darts_core.genotype import Genotype, GenotypeError
from darts_core.nets.dropout import Dropout
from darts_core.nets.language_model import LanguageModel
from darts_core.nets.recurrent_cell import RecurrentCell
from darts_core.ops.recurrent import ACTIVATIONS
from darts_core.registry import Registry
from darts_core.spaces import SPACES
from darts_core.spaces.space import Space
from darts_core.supernet.mixed import MixedOp
from darts_core.supernet.recurrent import CELL, RecurrentSupernet
from darts_core.supernet.shape import CellShape
from darts_core.supernet.supernet import EdgeRelaxation, Relaxation

NAME = "darts_rnn"
RECURRENT_PRIMITIVES = ("none", "tanh", "relu", "sigmoid", "identity")


@dataclass(frozen=True, kw_only=True)
class RecurrentSpace(Space):
    """One recurrent cell in a language model. ``hidden``, ``bptt``, ``dropout`` and the penalties are those of the search."""

    ops: ClassVar[Registry[Any]] = ACTIVATIONS
    hidden: int
    bptt: int
    dropout: Dropout
    activation_penalty: float
    slowness_penalty: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape.reads is not None:
            raise ValueError(f"space.edges must leave every edge an operation with space.name: {NAME}, whose nodes read all states.")
        for key, value, least in (
            ("hidden", self.hidden, 1),
            ("activation_penalty", self.activation_penalty, 0),
            ("slowness_penalty", self.slowness_penalty, 0),
        ):
            if value < least:
                raise ValueError(f"space.{key} must be at least {least}. Got {value}.")
        if self.bptt < LEAST_BPTT:
            raise ValueError(f"space.bptt must be at least {LEAST_BPTT}, the least that a window's length is drawn. Got {self.bptt}.")

    def supernet(
        self,
        *,
        in_channels: int,
        num_classes: int,
        relax: Relaxation,
        mixed: MixedOp,
        generator: torch.Generator,
        relax_edges: EdgeRelaxation | None = None,
        channel_proportion: int = 1,
        auxiliary_skips: bool = False,
    ) -> RecurrentSupernet:
        """Return the relaxed language model; ``in_channels`` and ``num_classes`` are both the number of tokens of the vocabulary.

        Raise ``ValueError`` where a method needs a part that recurrent cells have not: partial channels or auxiliary skip connections.
        """
        if in_channels != num_classes:
            raise ValueError(f"As many tokens to read as to predict expected. Got {in_channels} and {num_classes}.")
        if channel_proportion != 1:
            raise ValueError(f"method.channel_proportion must be 1 with space.name: {NAME}. Got {channel_proportion}.")
        if auxiliary_skips:
            raise ValueError(f"method.name: a method without auxiliary skip connections expected with space.name: {NAME}.")
        return RecurrentSupernet(
            self.primitives,
            shape=self.shape,
            width=self.hidden,
            num_tokens=num_classes,
            relax=relax,
            generator=generator,
            dropout=self.dropout,
            activation=self.activation_penalty,
            slowness=self.slowness_penalty,
            relax_edges=relax_edges,
            edge_primitives=self.edge_primitives,
        )

    def network(self, genotype: Genotype, *, num_tokens: int, width: int, dropout: Dropout, generator: torch.Generator) -> LanguageModel:
        """Return the language model of ``genotype`` with cells of ``width`` units; ``generator`` seeds its dropout."""
        self.check(genotype)
        return LanguageModel(RecurrentCell(genotype.cell(CELL), width), num_tokens=num_tokens, dropout=dropout, generator=generator)

    def check(self, genotype: Genotype, *, any_size: bool = False) -> None:
        """Raise ``GenotypeError`` where a genotype is of another space, or where a node has more than one edge or none to it."""
        super().check(genotype, any_size=any_size)
        for state, edges in enumerate(genotype.cell(CELL).nodes, start=1):
            if len(edges) != 1:
                raise GenotypeError(f"recurrent cell, node {state}: one edge expected. Got {len(edges)}.")
            if edges[0].op == "none":
                raise GenotypeError(f"recurrent cell, node {state}: an operation beside 'none' expected.")


@SPACES.register(NAME)
def darts_rnn(
    *,
    nodes: int = 8,
    primitives: tuple[str, ...] = RECURRENT_PRIMITIVES,
    hidden: int = 300,
    bptt: int = 35,
    dropout_embedding: float = 0.0,
    dropout_inputs: float = 0.2,
    dropout_gates: float = 0.75,
    dropout_hidden: float = 0.25,
    dropout_outputs: float = 0.75,
    activation_penalty: float = 0.0,
    slowness_penalty: float = 1e-3,
) -> RecurrentSpace:
    """DARTS RNN (Liu et al., ICLR 2019, arXiv:1806.09055): one recurrent cell of 8 nodes, each a highway from one earlier state.

    The options are those of the search; a derived cell is retrained by ``retrain.*``. ``hidden`` is the width of cell and embedding,
    ``bptt`` the tokens of a window, the ``dropout_*`` are locked over a window, and ``slowness_penalty`` is on the change of the outputs.
    """
    try:
        dropout = Dropout(
            embedding=dropout_embedding, inputs=dropout_inputs, gates=dropout_gates, hidden=dropout_hidden, outputs=dropout_outputs
        )
    except ValueError as error:
        raise ValueError(f"space.{error}") from None
    return RecurrentSpace(
        name=NAME,
        primitives=primitives,
        shape=CellShape(nodes=nodes, inputs=1, kept_edges=1),
        cell_types=(CELL,),
        hidden=hidden,
        bptt=bptt,
        dropout=dropout,
        activation_penalty=activation_penalty,
        slowness_penalty=slowness_penalty,
    )
