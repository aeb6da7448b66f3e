"""Kernels in C++ for the CPU, built on first use where a compiler is found (:mod:`darts_core.ops.native.library`)."""
