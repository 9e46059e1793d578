"""Of what histograms are drawn: fitness always, the parameters now and then."""

from __future__ import annotations

import numpy as np

from fastes.report.base import GenerationReport
from fastes.types import AnyArray, Float32Array

_MOST_PARAMETERS = 2**20  # a histogram of these takes some 0.1 s; more would hold up the run


class Distributions:
    """Remembers theta from one generation to the next, for policies of up to a million parameters."""

    def __init__(self) -> None:
        self._theta: Float32Array | None = None

    def of(self, report: GenerationReport) -> dict[str, AnyArray]:
        """Finite values by name: "fitness" [N]; "theta" and what was added to it last, "update" [D], of generations
        after which the centre was evaluated. An update needs to have seen the generation before.
        """
        found: dict[str, AnyArray] = {"fitness": report.fitness}
        theta, before = report.theta, self._theta
        if theta is not None and theta.size <= _MOST_PARAMETERS:
            self._theta = theta
            if "evaluation/mean" in report.metrics:
                found["theta"] = theta
                if before is not None:
                    found["update"] = theta - before
        finite = {name: values[np.isfinite(values)] for name, values in found.items()}
        return {name: values for name, values in finite.items() if values.size}
