"""Groups of permutations: generators of a core's automorphisms, their independent factors, and all products of a few."""
from __future__ import annotations

from mdapp.minima.cores import CoreGraph, Part


def closure(moves: list[tuple[int, ...]], n: int, most: int) -> list[tuple[int, ...]]:
    """All products of permutations of n things; more than `most` where there are more."""
    identity = tuple(range(n))
    found, waiting = {identity}, [identity]
    while waiting and len(found) <= most:
        one = waiting.pop()
        for move in moves:
            new = tuple(move[k] for k in one)
            if new not in found:
                found.add(new)
                waiting.append(new)
    return sorted(found)


def generators_of(graph: CoreGraph, molecule: Part) -> list[dict[int, int]]:
    """Generators of the automorphisms of a core, by a chain of stabilisers: each fixes what stands before its first moved atom."""
    order = molecule.core
    found: list[dict[int, int]] = []
    for k in reversed(range(len(order))):
        orbit = {order[k]}
        for candidate in order[k + 1 :]:
            if candidate in orbit or graph.labels[candidate] != graph.labels[order[k]]:
                continue
            image = graph.isomorphism(molecule, molecule, [*order[:k], candidate])
            if image is not None:
                found.append({a: b for a, b in zip(order, image) if a != b})
                grown = True
                while grown:
                    new = {g.get(a, a) for g in found for a in orbit} - orbit
                    orbit |= new
                    grown = bool(new)
    return found


def factors_of(generators: list[dict[int, int]]) -> list[list[dict[int, int]]]:
    """Generators that share a moved atom, together."""
    parts: list[tuple[set[int], list[dict[int, int]]]] = []
    for g in generators:
        atoms, together = set(g), [g]
        apart = []
        for others, gs in parts:
            if others & atoms:
                atoms |= others
                together += gs
            else:
                apart.append((others, gs))
        parts = [*apart, (atoms, together)]
    return [gs for _, gs in parts]
