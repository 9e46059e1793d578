"""Your own loop around `ask` and `tell`: minimise a sum of squares in 1,000 dimensions."""

import numpy as np

from fastes.algorithms import OpenAIES
from fastes.messages import Evaluations
from fastes.optim import Adam

es = OpenAIES(population=64, sigma=0.05, optimizer=Adam(lr=0.05))
state = es.init(np.ones(1000, np.float32), seed=1)
for _ in range(200):
    members = es.ask(state).materialize()  # float32 [64, 1000]
    fitness = -np.square(members).sum(axis=1)  # higher is better
    state, metrics = es.tell(state, Evaluations(state.generation, fitness))
print(f"sum of squares: 1000 at the start, {np.square(state.theta).sum():.3g} after 200 generations")
