"""How fast populations are priced: compiled tables against sums over dictionaries, in turn, in one process on one core.

    python tools/pricing_speed.py --space ofa-mbv3@1.2 --resolution 160 192 224

`blocks` builds each architecture's blocks and looks every one of them up, as the definition of a cost says. `choices`
has a dictionary for each slot, keyed by the choices that the slot depends on: the best that can be done one
architecture at a time. Rounds alternate between the three; medians are printed, in µs of CPU time per architecture, for
which neighbours matter less. All sums are compared.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from statistics import median
from time import process_time

import numpy as np
from threadpoolctl import threadpool_limits

from hwnas.arch import Population
from hwnas.space import SearchSpace
from hwnas.spaces import open_space
from lut.blocks import Block
from lut.compiled import Compiled, on_grid

Price = Callable[[Population], Sequence[float] | np.ndarray]
SLOW_ROWS = 1000  # that are priced block by block in a round; other ones in each


def main() -> None:
    """Price, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="ofa-mbv3@1.2")
    parser.add_argument("--resolution", type=int, nargs="*", default=[160, 192, 224])
    parser.add_argument("--population", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rng = np.random.default_rng(0)
    space = open_space(asked.space, resolutions=tuple(asked.resolution))
    costs = {block: float(on_grid(ms)) for block, ms in zip(space.vocabulary, ms_of(space, rng), strict=True)}
    with threadpool_limits(1):
        rows = [row(space, costs, space.sample(count, rng), asked.rounds) for count in asked.population]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    for found in rows:
        for name, value in found.items():
            print(f"{name:22} {value:.3f}" if isinstance(value, float) else f"{name:22} {value}")


def ms_of(space: SearchSpace, rng: np.random.Generator) -> np.ndarray:
    """A made-up latency for each block: what it is does not matter here."""
    return rng.uniform(0.01, 5, len(space.vocabulary))


def row(space: SearchSpace, costs: dict[Block, float], population: Population, rounds: int) -> dict[str, object]:
    """Each way's time, and whether all of them came to the same sums."""
    compiled = Compiled.of(space, costs.__getitem__)
    ways: dict[str, Price] = {
        "compiled": compiled,
        "choices": by_choices(space, costs),
        "blocks": lambda rows: [sum(costs[b] for b in space.layers(space.arch(row)).values()) for row in rows],
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    equal = True
    for part in slices(len(population), rounds):
        sums = {}
        for name, price in ways.items():
            rows = population[part] if name == "blocks" else population
            start = process_time()
            sums[name] = price(rows)
            times[name].append((process_time() - start) / len(rows) * 1e6)
        equal &= np.array_equal(sums["compiled"], sums["choices"])
        equal &= np.array_equal(sums["compiled"][part], sums["blocks"])
    us = {name: median(found) for name, found in times.items()}
    return {
        "space": space.name, "population": len(population), "rounds": rounds, "equal_to_the_last_bit": equal,
        **{f"{name}_us": value for name, value in us.items()},
        **{f"{name}_ratio": us[name] / us["compiled"] for name in ("choices", "blocks")},
    }  # fmt: skip


def slices(count: int, rounds: int) -> Iterator[slice]:
    """A part of a population for each round, one behind the other and round again."""
    for number in range(rounds):
        first = number * SLOW_ROWS % max(count - SLOW_ROWS, 1)
        yield slice(first, first + SLOW_ROWS)


def by_choices(space: SearchSpace, costs: dict[Block, float]) -> Price:
    """Sums over a dictionary for each slot, from the choices it depends on to what its block costs."""
    fixed, tables = 0.0, []
    for factor in space.factors:
        priced = {choices: costs.get(factor.blocks[choices], 0.0) for choices in np.ndindex(factor.blocks.shape)}
        if not factor.dims:
            fixed += priced[()]
        elif len(factor.dims) == 1:
            tables.append((itemgetter(*factor.dims), {choice: ms for (choice,), ms in priced.items()}))
        else:
            tables.append((itemgetter(*factor.dims), priced))

    def price(population: Population) -> list[float]:
        return [sum([table[choices(row)] for choices, table in tables], fixed) for row in population.tolist()]

    return price


if __name__ == "__main__":
    main()
