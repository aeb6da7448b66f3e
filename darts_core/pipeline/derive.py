"""derive_genotype: weights of the operations -> genotype, its drawings, its operations counted."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from darts_core.components import build_method, build_space, named_genotype
from darts_core.config import Config
from darts_core.genotype import Genotype
from darts_core.pipeline.places import GENOTYPE, write_json
from darts_core.pipeline.search import read_arch
from darts_core.pipeline.stage import Stage
from darts_core.report.cell_drawing import draw_cell
from darts_core.report.table import operation_counts

log = logging.getLogger(__name__)


def run(stage: Stage) -> None:
    """Derive the genotype of the search, or take the published one or the file that ``derive.genotype`` names."""
    genotype = chosen_genotype(stage.cfg)
    space = build_space(stage.cfg)
    space.check(genotype)
    GENOTYPE.parent.mkdir(parents=True, exist_ok=True)
    genotype.save(GENOTYPE)
    digest = hashlib.sha256(GENOTYPE.read_bytes()).hexdigest()
    write_json(stage.reports / "source.json", {"genotype": Path(stage.cfg.derive.genotype).name, "sha256": digest})
    counts = operation_counts(genotype)
    counts.to_csv(stage.reports / "operations.csv", index=False)
    stage.metrics(
        {f"{cell_type}_skips": sum(edge.op == "skip_connect" for _, edge in cell.edges) for cell_type, cell in genotype.cells.items()}
    )
    log.info("derived by: %s", genotype.rule)
    pictures = stage.reports / "cells"
    pictures.mkdir()
    for cell_type in genotype.cells:
        for path in draw_cell(genotype, cell_type, stage.reports, f"cell_{cell_type}"):
            if path.suffix == ".png":
                path.replace(pictures / path.name)
        log.info("%s", describe_cell(genotype, cell_type))
    if space.spell is not None:
        log.info("%s", space.spell(genotype))


def chosen_genotype(cfg: Config) -> Genotype:
    """Return the genotype that ``derive.*`` asks for."""
    if cfg.derive.genotype != "search":
        return named_genotype(cfg)
    op_EO, edge_E, content = read_arch()
    return build_method(cfg).derived(
        op_EO, primitives=content["primitives"], shape=build_space(cfg).shape, space=content["space"], edge_E=edge_E
    )


def describe_cell(genotype: Genotype, cell_type: str) -> str:
    """Return the cell in one line: each node's operations with the states that they read."""
    cell = genotype.cell(cell_type)
    shown = (
        f"{state} = " + " + ".join(f"{edge.op}({edge.src})" for edge in edges) for state, edges in enumerate(cell.nodes, start=cell.inputs)
    )
    return f"{cell_type:>6}: " + "; ".join(shown)
