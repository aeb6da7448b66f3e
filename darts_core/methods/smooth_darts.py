"""SmoothDARTS."""

from __future__ import annotations

from typing import Literal

from darts_core.methods import METHODS
from darts_core.search.method import Method
from darts_core.search.perturb import AdversarialPerturbation, Perturbation, Radius, RandomPerturbation
from darts_core.search.ranges import at_least, in_range
from darts_core.search.relax import softmax


@METHODS.register("smooth_darts")
def smooth_darts(
    *,
    perturbation: Literal["random", "adversarial"] = "random",
    radius_start: float = 0.03,
    radius_end: float = 0.3,
    attack_steps: int | None = None,
) -> Method:
    """SmoothDARTS (Chen and Hsieh, ICML 2020, arXiv:2002.05283): the weights learn under perturbed architectures, random or adversarial.

    The weights of the operations move by at most ``radius_start`` in the first epoch and ``radius_end`` after the last, in weight steps
    alone; ``adversarial`` takes ``attack_steps`` (null: 7) steps of gradient ascent on the very batch of the step.
    """
    if perturbation == "random" and attack_steps is not None:
        raise ValueError(
            f"method.attack_steps has an effect with method.perturbation: adversarial alone. Set it to null. Got {attack_steps}."
        )
    radius = Radius(
        in_range(radius_start, "radius_start", at_least=0.0, at_most=1.0), in_range(radius_end, "radius_end", at_least=0.0, at_most=1.0)
    )
    attack = AdversarialPerturbation(radius, at_least(1, "attack_steps", 7 if attack_steps is None else attack_steps))
    perturb: Perturbation = RandomPerturbation(radius) if perturbation == "random" else attack
    return Method(relax=softmax, perturb=perturb)
