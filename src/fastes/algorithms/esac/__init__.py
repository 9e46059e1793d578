"""Evolution-based Soft Actor-Critic: Suri, Shi, Plataniotis and Lawryshyn 2020, arXiv 2007.13690.

algorithm.py, state.py: the population, and what a generation leads to; learner.py: the Soft Actor-Critic, that of
stable-baselines3; crossover.py: of elites with its actor; mutation.py: sigma; pull.py: how others move the centre.
"""

from __future__ import annotations

from fastes.algorithms.esac.algorithm import ESAC
from fastes.algorithms.esac.state import ESACState

__all__ = ["ESAC", "ESACState"]
