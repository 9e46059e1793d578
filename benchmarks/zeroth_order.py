"""The figures and numbers of docs/zeroth_order.md (pip install 'fastes[plots]').

    python benchmarks/zeroth_order.py docs

`smoothing.png`: what is climbed for several sigma, and where runs end; `estimators.png`: how well estimates of a slope
point along it; `dimension.png`: evaluations until a quadratic is a hundredth, by the number of parameters.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from fastes import kernels
from fastes.aggregate import interquartile_mean
from fastes.algorithms import Algorithm, OpenAIES
from fastes.messages import Evaluations
from fastes.optim import SGD, Adam
from fastes.plots.style import COLOURS, STYLE
from fastes.problems.function import FUNCTIONS
from fastes.schedules import Cosine, Linear, Schedule
from fastes.shaping import centered_ranks

SEEDS = range(1, 6)
Objective = Callable[[np.ndarray], np.ndarray]
"""Members float64 [N, D] to fitness float64 [N]."""


def climbed(es: Algorithm, objective: Objective, start: np.ndarray, seed: int, generations: int, below: float) -> tuple:
    """Theta after so many generations, or as soon as -f(theta) is `below`; and the generations that it took."""
    state = es.init(start.astype(np.float32), seed)
    while state.generation < generations:
        members = es.ask(state).materialize().astype(np.float64)
        state, _ = es.tell(state, Evaluations(state.generation, objective(members).astype(np.float32)))
        if -objective(state.theta[np.newaxis].astype(np.float64))[0] < below:
            break
    return state.theta, state.generation


def smoothing() -> Figure:
    """Rastrigin's function of one number, and its means over normal neighbourhoods; where runs in 10 numbers end."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.6))
    rastrigin, x = FUNCTIONS["rastrigin"], np.linspace(-3.2, 3.2, 641)
    noise = kernels.normal(1 << 14, seed=1).astype(np.float64)
    left.plot(x, rastrigin(x[:, None]), color="#9A9A9A", linewidth=1, label="f")
    for colour, sigma in zip(COLOURS, (0.1, 0.25, 0.5), strict=False):
        mean = [rastrigin((at + sigma * noise)[:, None]).mean() for at in x]
        left.plot(x, mean, color=colour, linewidth=1.6, label=f"f, smoothed by sigma = {sigma}")
    left.set(xlabel="x", title="Rastrigin's function, one number")
    left.legend(fontsize=8, loc="lower center")
    sigmas = (0.03, 0.1, 0.2, 0.3, 0.5, 1.0)
    ends = [ends_of_runs(sigma) for sigma in sigmas]
    falling = float(interquartile_mean(ends_of_runs(Linear(start=1.0, end=0.03, generations=500))))
    middle = np.array([interquartile_mean(each) for each in ends])
    spread = np.abs(np.array([[min(each), max(each)] for each in ends]).T - middle)
    right.errorbar(sigmas, middle, yerr=spread, color=COLOURS[0], marker="o", capsize=3)
    right.axhline(falling, color=COLOURS[1], linestyle="--", label="sigma falls from 1 to 0.03")
    right.legend(fontsize=8)
    right.set(xscale="log", xlabel="sigma", ylabel="f(theta) below its maximum", title="10 numbers, 32,000 evaluations")
    right.set_xticks(sigmas, [str(sigma) for sigma in sigmas])
    right.xaxis.minorticks_off()
    right.set_ylim(bottom=0)
    return figure


def ends_of_runs(sigma: float | Schedule) -> list[float]:
    """How far below the maximum of Rastrigin's function of 10 numbers each seed's run ends."""
    es = OpenAIES(population=64, sigma=sigma, optimizer=Adam(lr=Cosine(start=0.1, generations=500)))
    rastrigin = FUNCTIONS["rastrigin"]
    thetas = [climbed(es, rastrigin, np.full(10, 2.0), seed, 500, 0.0)[0] for seed in SEEDS]
    ends = [-float(rastrigin(theta[np.newaxis].astype(np.float64))[0]) for theta in thetas]
    print(f"rastrigin, sigma {sigma}: {interquartile_mean(ends):.3g} of {', '.join(f'{end:.3g}' for end in ends)}")
    return ends


def directions(slope: np.ndarray, curvature: float, sigma: float, evaluations: int, seed: int, outliers: float) -> dict:
    """Cosines with the slope of estimates that have so many evaluations of f(x) = slope x - curvature |x|^2 / 2."""
    rows = np.arange(evaluations, dtype=np.uint32)
    epsilon = kernels.perturb(np.zeros(slope.size, np.float32), rows, np.ones(evaluations, np.float32), seed=seed)
    e = epsilon.astype(np.float64)
    heavy = outliers * np.tan(math.pi * (np.random.default_rng(seed).random((2, evaluations)) - 0.5))  # Cauchy
    up, down = (
        side * sigma * (e @ slope) - 0.5 * curvature * sigma**2 * np.square(e).sum(axis=1) + noise
        for side, noise in zip((1, -1), heavy, strict=True)
    )
    half = evaluations // 2
    pairs = np.stack([up[:half], down[:half]], axis=1).ravel().astype(np.float32)
    ranks = centered_ranks(pairs).reshape(-1, 2)
    offset = 10.0 * sigma * np.linalg.norm(slope)  # what f is at the centre, which nobody knows beforehand
    estimates = {
        "f(x + s e) e": e.T @ (up + offset),
        "(f(x + s e) - f(x)) e": e.T @ up,
        "mirrored pairs": e[:half].T @ (up - down)[:half],
        "mirrored pairs, ranks": e[:half].T @ (ranks[:, 0] - ranks[:, 1]),
    }
    return {name: float(g @ slope / np.linalg.norm(g) / np.linalg.norm(slope)) for name, g in estimates.items()}


def estimators() -> Figure:
    """Cosines against evaluations: where the slope counts, where curvature does, with outliers; 1,000 parameters."""
    dim, counts, sigma = 1000, [16, 32, 64, 128, 256, 512, 1024, 2048, 4096], 0.1
    figure, all_axes = plt.subplots(1, 3, figsize=(11.5, 3.7), sharey=True)
    cases = {"slope": (0.0, 0.0), "curvature": (3.0, 0.0), "slope, with outliers": (0.0, 0.1)}
    slope = np.full(dim, 1.0 / math.sqrt(dim))
    for axes, (title, (curvature, outliers)) in zip(all_axes, cases.items(), strict=True):
        found = {n: [directions(slope, curvature, sigma, n, seed, outliers) for seed in range(1, 9)] for n in counts}
        for colour, name in zip(COLOURS, found[16][0], strict=False):
            values = np.array([[one[name] for one in found[n]] for n in counts])
            axes.plot(counts, values.mean(axis=1), color=colour, marker="o", markersize=3, label=name)
            told = ", ".join(f"{n}: {value:.3f}" for n, value in zip(counts, values.mean(axis=1), strict=True))
            print(f"{title}, {name}: {told}")
        if title == "slope":
            theory = [math.sqrt(n / 2 / (n / 2 + dim + 1)) for n in counts]
            axes.plot(counts, theory, color="#262626", linewidth=0.8, linestyle=":", label="sqrt(P / (P + D + 1))")
        axes.set(xscale="log", xlabel="evaluations", title=title)
    all_axes[0].set_ylabel("cosine with the gradient")
    all_axes[0].legend(fontsize=8, loc="upper left")
    return figure


def dimension() -> Figure:
    """Evaluations until -|x|^2 / 2 is a hundredth of what it was, of all D parameters or of 10 among them."""
    figure, axes = plt.subplots(figsize=(6.5, 3.8))
    population, sigma = 64, 0.01
    for colour, all_count in zip(COLOURS, (True, False), strict=False):
        dims = [10, 30, 100, 300, 1000, 3000] if all_count else [10, 100, 1000, 10_000, 100_000]
        middle = []
        for dim in dims:
            used = dim if all_count else 10
            start = np.zeros(dim)
            start[:used] = 1.0 / math.sqrt(used)
            rate = 0.5 * population / (0.5 * population + used + 1)
            es = OpenAIES(population=population, sigma=sigma, shaping="identity", optimizer=SGD(lr=rate / sigma))
            runs = [
                climbed(es, lambda x, u=used: -0.5 * np.square(x[:, :u]).sum(axis=1), start, seed, 4000, 0.005)
                for seed in SEEDS
            ]
            middle.append(population * float(interquartile_mean([generations for _, generations in runs])))
            print(f"{'all' if all_count else '10'} of {dim}: {middle[-1]:,.0f} evaluations")
        label = "all parameters count" if all_count else "10 parameters count"
        axes.plot(dims, middle, color=colour, marker="o", label=label)
    dims = np.array([10, 3000])
    theory = population * math.log(100) / -np.log(1 - 0.5 * population / (0.5 * population + dims + 1))
    axes.plot(dims, theory, color="#262626", linestyle=":", linewidth=0.8, label="2 ln 100 (P + D + 1), nearly")
    axes.set(xscale="log", yscale="log", xlabel="parameters D", ylabel="evaluations")
    axes.legend(fontsize=9)
    return figure


FIGURES = {"smoothing": smoothing, "estimators": estimators, "dimension": dimension}


def main() -> int:
    """Draws all of them, or those that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), default=list(FIGURES))
    options = parser.parse_args()
    for name in options.only:
        with plt.rc_context(STYLE):
            FIGURES[name]().savefig(options.directory / f"{name}.png", dpi=160)
        print(options.directory / f"{name}.png", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
