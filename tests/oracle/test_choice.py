"""Which backend a search takes, and what it says of it."""

import dataclasses
import logging
import typing

import pytest
import torch
import torch._inductor

from darts_core.config import SearchConfig
from darts_core.engine import placing as placing_module
from darts_core.engine.placing import place
from darts_core.methods import METHODS
from darts_core.metrics import count_macs
from darts_core.runtime import per_shape
from darts_core.runtime.compiler import BuildError
from darts_core.supernet import choice as choice_module
from darts_core.supernet import edgewise, shared
from darts_core.supernet.backend import BACKENDS, Eager
from darts_core.supernet.choice import LONG_JOB, Choice, choose_backend, self_check
from tests.oracle.test_backends import CPU, build, fresh, skip_without_kernels


def choose(supernet, wanted="auto"):
    return choose_backend(supernet, wanted, CPU, size=(16, 16))


@pytest.fixture
def without_compiling(monkeypatch):
    """The compiler gives back what it gets."""
    per_shape.forget()
    monkeypatch.setattr(torch._inductor, "compile", lambda graph, _: graph)
    yield
    per_shape.forget()


class TestChoice:
    def test_auto_takes_eager_where_it_agrees(self):
        supernet, _ = build("all")
        state = {name: value.clone() for name, value in supernet.state_dict().items()}
        choice = choose(supernet)
        assert isinstance(choice.backend, Eager)
        assert "self-check" in choice.why
        assert not choice.fell_back
        assert all(torch.equal(value, state[name]) for name, value in supernet.state_dict().items()), "the supernet is left alone"

    @pytest.mark.parametrize("stem", ["cifar", "imagenet"])
    def test_a_fresh_supernet_passes(self, stem):
        """Behind the ImageNet stem the small images shrink to a pixel, where pooled states have means of zero up to rounding."""
        assert isinstance(choose(fresh(stem=stem)).backend, Eager)

    @pytest.mark.parametrize("name", BACKENDS)
    def test_a_name_is_obeyed(self, name, without_compiling):
        skip_without_kernels(BACKENDS[name])
        assert choose(fresh(), name).backend.name == name

    def test_every_backend_can_be_named_in_params(self):
        assert {"auto", *BACKENDS} == set(typing.get_args(SearchConfig.model_fields["backend"].annotation))

    @pytest.mark.parametrize("factor", [1.0 + 1e-6, float("nan")])
    def test_a_backend_that_disagrees_is_not_taken(self, factor, monkeypatch, caplog):
        right = shared._weighted_batch_norm
        monkeypatch.setattr(shared, "_weighted_batch_norm", lambda bn, x, weight: factor * right(bn, x, weight))
        supernet = fresh()
        assert not self_check(supernet, Eager(), CPU) <= 1e-8
        with caplog.at_level(logging.WARNING):
            assert place(supernet, METHODS.build("darts"), SearchConfig(), CPU, (6, 3, 8, 8), batches=1)["backend"] == "reference"
        assert "reference, for eager failed its self-check" in caplog.text

    def test_kernels_that_are_wrong_in_float32_alone_are_found(self, monkeypatch):
        right = shared._weighted_batch_norm

        def wrong(bn, x, weight):
            out = right(bn, x, weight)
            return out * 1.2 if x.dtype == torch.float32 else out

        monkeypatch.setattr(shared, "_weighted_batch_norm", wrong)
        assert choose(fresh()).fell_back

    @pytest.mark.parametrize(("size", "expected"), [((32, 33), (32, 33)), ((224, 301), (64, 65))])
    def test_the_check_takes_no_more_memory_than_it_must(self, size, expected, monkeypatch):
        seen = []

        def one_pass(supernet, backend, device, *, dtype, size, batch=4):
            seen.append(size)
            return {kind: {"all": torch.ones(1)} for kind in ("loss", "gradient", "buffer", "count")}

        monkeypatch.setattr(choice_module, "_one_pass", one_pass)
        choose_backend(fresh(), "auto", CPU, size=size)
        assert seen == [(16, 16)] * 2 + [expected] * 2

    def test_an_error_in_the_check_is_no_end(self, monkeypatch):
        def fail(*_):
            raise RuntimeError("no kernel image\nis available")

        monkeypatch.setattr(shared, "_weighted_batch_norm", fail)
        choice = choose(fresh())
        assert choice.backend.name == "reference"
        assert choice.why == "reference, for the self-check of eager ended with an error: no kernel image"

    def test_native_without_a_compiler_is_eager(self, monkeypatch, caplog):
        def fail(source):
            raise BuildError("no C++ compiler: none of c++ is on PATH")

        monkeypatch.setattr(choice_module, "library", fail)
        with caplog.at_level(logging.WARNING):
            placed = place(fresh(), METHODS.build("darts"), SearchConfig(backend="native"), CPU, (6, 3, 8, 8), batches=1)
        assert placed["backend"] == "eager"
        assert "backend eager, for native cannot be had: no C++ compiler: none of c++ is on PATH (self-check" in caplog.text

    @pytest.mark.parametrize(("operations", "expected"), [(0.99 * LONG_JOB, "eager"), (LONG_JOB, "native")])
    def test_auto_takes_native_for_long_jobs_alone(self, operations, expected):
        skip_without_kernels(BACKENDS["native"])
        choice = choose_backend(fresh(), "auto", CPU, size=(16, 16), operations=operations)
        assert choice.backend.name == expected
        assert not choice.fell_back

    def test_the_length_of_a_job_is_that_of_all_its_batches(self, monkeypatch):
        seen = []

        def choose(supernet, wanted, device, *, size, batch, operations):
            assert batch == 6
            seen.append(operations)
            return Choice(backend=Eager(), why="")

        monkeypatch.setattr(placing_module, "choose_backend", choose)
        cfg, supernet = SearchConfig(epochs=7, memory="normal"), fresh()
        for gradient in ("first", "unrolled"):
            place(supernet, METHODS.build("darts", {"arch_gradient": gradient}), cfg, CPU, (6, 3, 8, 8), batches=11)
        macs = count_macs(supernet, input_shape=(3, 8, 8))
        assert seen == [10.0 * macs * 6 * 11 * 7, 26.0 * macs * 6 * 11 * 7]

    def test_auto_without_a_compiler_is_eager_and_no_fault(self, monkeypatch):
        def fail(source):
            raise BuildError("no C++ compiler")

        monkeypatch.setattr(choice_module, "library", fail)
        choice = choose_backend(fresh(), "auto", CPU, size=(16, 16), operations=LONG_JOB)
        assert choice.why.startswith("eager, for native cannot be had: no C++ compiler (self-check")
        assert not choice.fell_back

    @pytest.mark.parametrize("wanted", ["native", "compiled"])
    def test_operations_without_any_kernel_are_computed_by_eager(self, wanted):
        supernet = fresh(primitives=("none", "skip_connect", "conv_1x3_3x1"), nodes=1, layers=3)
        choice = choose_backend(supernet, wanted, CPU, size=(16, 16))
        assert choice.backend.name == "eager"
        assert choice.fell_back
        assert f"{wanted} cannot be had: it has no kernel for any of none, skip_connect, conv_1x3_3x1" in choice.why

    def test_native_is_for_the_cpu(self):
        choice = choose_backend(fresh().to("meta"), "native", torch.device("meta"), size=(16, 16))
        assert "native cannot be had: its kernels are for the CPU, and the device is meta" in choice.why
        assert choice.fell_back

    def test_buffers_count_in_the_self_check(self, monkeypatch):
        right = shared.normalise_batch

        def wrong(x, bn):
            pooled = right(x, bn)
            return dataclasses.replace(pooled, variance=1.1 * pooled.variance)

        for module in (shared, edgewise):
            monkeypatch.setattr(module, "normalise_batch", wrong)
        assert self_check(build("pools")[0], Eager(), CPU) > 1e-3
