"""The functions of a search compiled before its first step, some of them by another process."""

import logging
import time
from collections import deque

import pytest
import torch
import torch._inductor
from torch._dynamo.utils import counters
from torch._inductor import config

from darts_core.config import RuntimeConfig
from darts_core.ops.edge import EdgePlan, Step, edge_forward
from darts_core.ops.pooled import mean_forward
from darts_core.runtime import per_shape
from darts_core.runtime.compiler import BuildError
from darts_core.runtime.per_shape import Wanted
from darts_core.runtime.session import start
from darts_core.supernet import ahead, choice
from tests.oracle.test_backends import CPU, fresh
from tests.oracle.test_compiled import has_compiler

STEP = Step(3, 1, 1, 1, 1e-5)


@pytest.fixture(autouse=True)
def start_afresh():
    per_shape.forget()
    yield
    per_shape.forget()


@pytest.fixture
def graphs(monkeypatch):
    """What would have been compiled, and is computed as it was traced."""
    found = []

    def compile_(graph, _):
        found.append(graph)
        return graph

    monkeypatch.setattr(torch._inductor, "compile", compile_)
    return found


def pool(*shape, eps=1e-5):
    return Wanted(mean_forward, eps, [torch.ones(shape)])


def test_a_search_compiles_all_that_it_needs_and_nothing_else(graphs, monkeypatch):
    told = []
    compile_ = ahead.Others.compile
    monkeypatch.setattr(ahead.Others, "compile", lambda self, wanted: told.extend(wanted) or compile_(self, wanted))
    supernet = fresh(init_channels=4, layers=3, nodes=2)
    with ahead.Others(CPU, processes=1) as nobody:
        assert choice.compiler_check(supernet, CPU, size=(8, 8), batch=2, others=nobody) < 1e-5
        assert {each.function.__name__ for each in told} == set(ahead.FUNCTIONS)
        assert len(graphs) == len(told) == per_shape.count()
        choice.compiler_check(supernet, CPU, size=(8, 8), batch=2, others=nobody)
    assert len(graphs) == per_shape.count()  # not a second time


def test_what_is_noted_can_be_told_to_another_process():
    like = torch.empty(2, 4, 8, 8, dtype=torch.float64).to(memory_format=torch.channels_last)
    plan = EdgePlan(((STEP, Step(5, 2, 4, 2, 1e-3)), (STEP,)), 1)
    with per_shape.noting() as noted:
        for _ in range(2):
            per_shape.note(edge_forward, plan, [[like], [like], torch.empty(3), [torch.empty(4, 1, 3, 3)]])
    per_shape.note(edge_forward, plan, [like])  # to nobody
    ((key, wanted),) = noted.items()
    told = ahead.of_json(ahead.to_json(wanted))
    assert told.static == plan
    with per_shape.noting() as again:
        per_shape.note(*told)
    assert list(again) == [key]


@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler, so nothing can be compiled")
@pytest.mark.parametrize("is_stage", [False, True])
def test_another_process_leaves_it_in_the_cache(is_stage):
    """Where this one finds it by a key that is made of torch's settings, too, those of a stage among them."""
    if is_stage:
        start(RuntimeConfig(device="cpu", num_threads=1), seed=0)
    wanted = pool(2, 3, 5, 7, eps=1e-5 + time.time_ns() % 10**9 * 1e-15)  # nothing that an earlier run has left there
    queue, other = deque([wanted]), ahead._Other()
    other.take(queue)
    other.finish()
    other.stop()
    assert not queue
    before = counters["inductor"]["fxgraph_cache_hit"]
    found = per_shape.call(wanted.function, wanted.static, wanted.arguments)
    assert counters["inductor"]["fxgraph_cache_hit"] == before + 1
    for own, expected in zip(found, mean_forward(wanted.static, *wanted.arguments), strict=True):
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("executable", ["/bin/false", "/bin/true"])
def test_without_another_process_all_is_compiled_here(graphs, monkeypatch, caplog, executable):
    monkeypatch.setattr(ahead.sys, "executable", executable)
    with caplog.at_level(logging.INFO), ahead.Others(CPU, processes=3) as others:
        others.compile([pool(2, 3, side, 4) for side in (3, 4, 5)])
    assert len(graphs) == per_shape.count() == 3
    assert "compiled: making 3 functions" in caplog.text
    assert "by 3 processes" in caplog.text


def test_another_process_that_hangs_is_ended(graphs, monkeypatch, caplog, tmp_path):
    (script := tmp_path / "hangs").write_text("#!/bin/sh\nsleep 600\n")
    script.chmod(0o700)
    monkeypatch.setattr(ahead.sys, "executable", str(script))
    monkeypatch.setattr(ahead, "_PATIENCE", 0.1)
    with caplog.at_level(logging.INFO), ahead.Others(CPU, processes=2) as others:
        others.compile([pool(2, 3, side, 4) for side in (3, 4)])
        assert [other._process.poll() is None for other in others._others] == [False]
    assert per_shape.count() == 2
    assert "compiled: another process took more than 0.1 s for a function, and is ended." in caplog.text


def test_another_process_ends_with_a_compiler_that_fails(monkeypatch):
    def fail(*_):
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(torch._inductor, "compile", fail)
    others = ahead.Others(CPU, processes=2)
    with pytest.raises(BuildError, match=r"No working C\+\+ compiler found"), others:
        others.compile([pool(2, 3, side, 4) for side in (3, 4, 5)])
    assert [other._process.poll() is None for other in others._others] == [False]


@pytest.mark.parametrize(("device", "has_cache"), [("cpu", False), ("meta", True)])
def test_no_other_process_that_would_be_of_no_use(device, has_cache, graphs, monkeypatch):
    monkeypatch.setattr(ahead, "_Other", None)
    with config.patch(fx_graph_cache=has_cache), ahead.Others(torch.device(device), processes=2) as others:
        others.compile([pool(2, 3, side, 4) for side in (3, 4)])
    assert per_shape.count() == 2
