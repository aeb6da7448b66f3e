"""The parts of a method: relaxation, architecture gradient, derivation."""

from darts_core.registry import discover

discover(__name__)
