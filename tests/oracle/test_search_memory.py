"""What a search step takes of memory, by backend and memory mode: estimated, chosen by a budget, and kept."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from darts_core.config import SearchConfig
from darts_core.engine.placing import place
from darts_core.methods import METHODS
from darts_core.runtime.workspace import Workspace
from darts_core.spaces import SPACES
from darts_core.supernet import image
from darts_core.supernet.backend import BACKENDS, Native
from darts_core.supernet.footprint import estimate_peak_mib
from tests.oracle.test_backends import CPU, fresh, skip_without_kernels


class TestMemory:
    @pytest.mark.parametrize("backend", sorted({*BACKENDS} - {"compiled"}))  # which would be compiled for minutes
    def test_the_estimate_is_near_the_peak(self, backend):
        """The peak is the operating system's count for a process of its own."""
        skip_without_kernels(BACKENDS[backend])
        sizes = {"channels": 8, "cells": 3, "pixels": 32}
        options = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
        command = [
            sys.executable,
            "-m",
            "benchmarks.memory",
            "--here",
            "--batch",
            "24",
            "--backend",
            backend,
            "--memory",
            "normal",
            *options,
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        supernet = fresh(init_channels=8, layers=3, nodes=4)
        supernet.use(BACKENDS[backend](), CPU)
        estimate = estimate_peak_mib(supernet, (24, 3, 32, 32))
        assert 0.9 < estimate / json.loads(done.stdout)["peak_mib"] < 1.6
        assert estimate_peak_mib(supernet, (24, 3, 32, 32), graphs=3) == pytest.approx(3 * estimate)

    def test_auto_turns_lean_above_the_budget(self, caplog):
        method, supernet = METHODS.build("darts"), fresh()
        with caplog.at_level(logging.INFO):
            assert place(supernet, method, SearchConfig(memory_budget_mib=1e5), CPU, (64, 3, 32, 32), batches=1)["memory"] == "normal"
            assert place(supernet, method, SearchConfig(memory_budget_mib=10.0), CPU, (64, 3, 32, 32), batches=1)["memory"] == "lean"
        assert supernet.is_lean
        assert "memory lean (a step would take about" in caplog.text

    def test_exact_stays_normal_and_warns(self, caplog):
        method, supernet = METHODS.build("darts", {"arch_gradient": "exact"}), fresh()
        with caplog.at_level(logging.WARNING):
            assert place(supernet, method, SearchConfig(memory_budget_mib=10.0), CPU, (64, 3, 32, 32), batches=1)["memory"] == "normal"
        assert "memory normal" in caplog.text

    @pytest.mark.parametrize("mode", ["lean", "normal"])
    def test_a_mode_is_obeyed(self, mode):
        supernet = fresh()
        assert place(supernet, METHODS.build("darts"), SearchConfig(memory=mode), CPU, (64, 3, 32, 32), batches=1)["memory"] == mode
        assert supernet.is_lean == (mode == "lean")

    @pytest.mark.parametrize(("backend", "share"), [("reference", 0.1), ("eager", 0.25), ("native", 0.1)])
    def test_lean_keeps_a_small_part(self, backend, share):
        """Of what normal keeps for the backward pass: cells' inputs, or with eager states and normalised pools."""
        skip_without_kernels(BACKENDS[backend])
        kept = {}
        for is_lean in (False, True):
            supernet = fresh(init_channels=8, layers=3, nodes=4)
            supernet.use(BACKENDS[backend](), CPU, is_lean=is_lean)
            own = {p.untyped_storage().data_ptr() for p in supernet.parameters()}
            found: dict[int, torch.Tensor] = {}
            with torch.autograd.graph.saved_tensors_hooks(
                lambda x, found=found: found.setdefault(x.untyped_storage().data_ptr(), x), lambda x: x
            ):
                supernet(torch.randn(8, 3, 16, 16).to(memory_format=supernet.backend.memory_format(CPU)))
            kept[is_lean] = sum(x.untyped_storage().nbytes() for place, x in found.items() if place not in own)
        assert kept[True] < share * kept[False]

    def test_cells_whose_workspace_another_cell_holds(self):
        """Two passes, the first differentiated again after the second; cells computed again, or all with one workspace: the same bits."""
        skip_without_kernels(Native)
        found = []
        for backend, is_lean in ((Native(), False), (Native(), True), (Native(workspace=Workspace()), False)):
            torch.manual_seed(0)
            supernet = fresh(init_channels=4, layers=3, nodes=2)
            supernet.use(backend, CPU, is_lean=is_lean)
            generator = torch.Generator().manual_seed(1)
            images = [torch.randn(4, 3, 8, 8, generator=generator).to(memory_format=torch.channels_last) for _ in range(2)]
            parameters = [p for p in supernet.parameters() if p.requires_grad]
            first, second = (supernet(x).square().sum() for x in images)
            gradients = [torch.autograd.grad(first, parameters, retain_graph=True)]
            gradients += [torch.autograd.grad(loss, parameters) for loss in (second, first)]
            with torch.no_grad():
                found.append([*(g for each in gradients for g in each), first.detach(), second.detach(), supernet(images[0])])
        for other in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize(("is_lean", "reductions"), [(True, 2), (False, 0)])
@pytest.mark.parametrize("space", ["darts_cnn", "nasbench201"])
def test_lean_gives_memory_back_ahead_of_larger_maps(space, is_lean, reductions, monkeypatch):
    """Where the backward pass enters a reduction, of a cell or between cells; what smaller maps leave is of no use to larger ones."""
    given_back = []
    monkeypatch.setattr(image, "return_freed_memory", lambda: given_back.append(True))
    built = SPACES.build(space, {"init_channels": 2, "layers": 3})
    supernet = METHODS.build("darts").supernet(built, in_channels=3, num_classes=5, generator=torch.Generator().manual_seed(0))
    supernet.use(BACKENDS["eager"](), CPU, is_lean=is_lean)
    out = supernet(torch.randn(2, 3, 16, 16).to(memory_format=torch.channels_last))
    assert not given_back
    out.sum().backward()
    assert len(given_back) == reductions
