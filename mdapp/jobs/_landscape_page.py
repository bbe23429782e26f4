"""The page of a library of minima: numbers, remarks, figures and tables."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mdapp.minima.landscape.populations import Populations
    from mdapp.minima.landscape.store import Landscape
    from mdapp.minima.landscape.survey import Survey
    from mdapp.minima.library import Library
    from mdapp.report import Scene

MADE_BY = "mdapp analyse"
WIDE_INCHES = 7.0  # figures of many panels take the whole width of the page
MOST_LEAVES = 400  # in the picture of the tree
SEEN = 60  # lowest minima in the 3D view
MAPPED = 150  # minima in the picture of the network
NAMED = 8  # regions that the table tells of


@dataclass(frozen=True)
class MinimaSource:
    """A library of minima that is to be analysed."""

    name: str  # as the user gave it
    path: Path  # of minima.h5
    folder: Path | None  # of the search; None for a file by itself
    settings_text: str  # run.toml
    settings: dict[str, Any]  # of the search


@dataclass(frozen=True)
class Word:
    """How it ended, in a word and a sentence."""

    word: str
    sentence: str


@dataclass(frozen=True)
class Findings:
    """All that is known of a library when its page is written."""

    source: MinimaSource
    library: Library
    landscape: Landscape  # saddles and frequencies
    shares: Populations  # at the temperature asked for
    view: Survey
    frequencies: dict[int, np.ndarray]  # 1/cm, of those of which they are known, by their numbers

    @property
    def no_minima(self) -> dict[int, float]:
        """The imaginary frequency, negative, of those of the library that are none."""
        from mdapp.minima.landscape.populations import LEAST_CM1

        return {k: float(f.min()) for k, f in sorted(self.frequencies.items()) if len(f) and f.min() < -LEAST_CM1}


def remarks_of(found: Findings) -> list[str]:
    """What is missing and how it can be had."""
    landscape, shares, view = found.landscape, found.shares, found.view
    said = []
    if not landscape.tried:
        said.append("No saddles have been looked for: mdapp analyse FOLDER --saddles 50 tries fifty pairs of neighbouring minima.")
    if not shares.harmonic:
        said.append("Populations are from energies alone: --frequencies N gives harmonic free energies of the N lowest minima.")
    if flat := found.no_minima:
        named = ", ".join(f"{k} ({abs(f):.0f}i cm⁻¹)" for k, f in list(flat.items())[:NAMED]) + (f" and {len(flat) - NAMED} more" if len(flat) > NAMED else "")
        said.append(f"Not minima but saddles of a soft mode, by their frequencies: {named}. The relaxation stopped there; a smaller --fmax goes on.")
    if landscape.n_extra:
        said.append(f"{landscape.n_extra} of the minima below saddles are not in the library; they are named x0, x1, ...")
    if not view.angles.residues:
        said.append("No peptide backbone was found: no Ramachandran map.")
    if np.isnan(view.rmsd).any():
        said.append(f"Distances were measured for the {int(np.isfinite(view.rmsd).sum())} lowest minima.")
    return said


def rows_of(found: Findings) -> list[tuple[str, str]]:
    """The numbers that a person asks for first."""
    from mdapp.minima.completeness import completeness

    landscape, shares, view = found.landscape, found.shares, found.view
    known = completeness(view.visits)
    rows = [("lowest", f"minimum {view.lowest}, {view.energies.min():.6f} eV, seen {int(view.visits[view.lowest])} times"),
            ("minima", f"{len(view.energies)} in {int(view.visits.sum())} arrivals; at least {known.expected:.0f} exist (Chao), {100 * known.coverage:.0f} % of the next "
             "arrivals would be at known ones (Good-Turing)"),
            ("low ones", ", ".join(f"{int(np.sum(view.above <= e))} within {e:g} eV" for e in (0.05, 0.1, 0.25)))]
    for name, k in list(view.lowest_of_each_region().items())[:NAMED]:
        angles = ", ".join(f"{p:.0f} {q:.0f}" for p, q in zip(view.angles.phi_deg[k], view.angles.psi_deg[k], strict=True))
        rows.append((name if len(name) <= 10 else "region", f"{'' if len(name) <= 10 else name + ': '}minimum {k}, {view.above[k]:.4f} eV, phi psi {angles}"))
    network = landscape.network()
    if landscape.tried:
        joined, chosen = network.joined()
        labels = joined.components()
        with_lowest = int(np.sum(labels == labels[joined.lowest]))
        rows.append(("saddles", f"{len(landscape.saddles)} from {len(landscape.tried)} pairs; {with_lowest} minima joined to the lowest one"))
        ways = [(e.energy - network.energies[network.lowest], a + b - network.lowest) for (a, b), e in network.barriers().items() if network.lowest in (a, b)]
        if ways:
            height, other = min(ways)
            rows.append(("way out", f"the lowest barrier from the lowest minimum is {height:.4f} eV, to minimum {landscape.name_of(other)}"))
    best = np.argsort(-shares.shares)[:4]
    most = (f"{f'{shares.minima[k]} {view.names[shares.minima[k]]}'.strip()} {100 * shares.shares[k]:.0f} %" for k in best)
    rows.append((f"at {shares.temperature_K:g} K", f"{', '.join(most)} ({shares.basis})"))
    return rows


def summary_of(found: Findings) -> dict[str, Any]:
    """The same numbers for a machine."""
    landscape, shares, view = found.landscape, found.shares, found.view
    angles = view.angles
    regions = {name: {"minimum": k, "above_lowest_eV": float(view.above[k]), "phi_deg": angles.phi_deg[k].round(2).tolist(), "psi_deg": angles.psi_deg[k].round(2).tolist()}
               for name, k in view.lowest_of_each_region().items()}
    network = landscape.network()
    top = np.argsort(-shares.shares)[:50]
    return {
        "made_by": MADE_BY, "run": found.source.name, "n_atoms": len(found.library.reference), "n_minima": len(view.energies), "n_visits": int(view.visits.sum()),
        "lowest": view.lowest, "lowest_energy_eV": float(view.energies.min()), "regions": dict(list(regions.items())[:50]),
        "n_saddles": len(landscape.saddles), "n_pairs_tried": len(landscape.tried),
        "n_minima_from_saddles": landscape.n_extra, "barriers_eV": sorted(round(float(e.energy - network.energies.min()), 6) for e in network.barriers().values()),
        "populations": {"temperature_K": shares.temperature_K, "harmonic": shares.harmonic, "shares": {str(shares.minima[k]): float(shares.shares[k]) for k in top}},
        "no_minima": {str(k): f for k, f in found.no_minima.items()}, "remarks": remarks_of(found),
    }


def write_findings(folder: Path, found: Findings, word: Word, summary: dict[str, Any], *, plots: bool) -> None:
    """Tables, figures, summary and page into a folder that is there."""
    from mdapp import version
    from mdapp.plots.style import save
    from mdapp.report import Page, Picture, Section, html_report

    found.view.to_csv(folder / "minima.csv")
    found.shares.to_csv(folder / "populations.csv")
    if found.landscape.tried:
        found.landscape.network().to_csv(folder / "saddles.csv")
    pictures = []
    if plots:
        for name, caption, figure in _figures(found):
            pictures.append(Picture(save(figure, folder / f"{name}.png", svg=name == "disconnectivity"), caption, figure.get_figwidth() > WIDE_INCHES))
    (folder / "summary.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    source = found.source
    title = Path(source.name).name or source.name
    page = Page(title, word.word, word.sentence + ".", rows_of(found), remarks=remarks_of(found), scene=_scene(found), sections=[Section("Figures", tuple(pictures))],
                settings=source.settings_text, footer=f"Made by mdapp {version()}.")
    (folder / "report.html").write_text(html_report(page), encoding="utf-8")


def _scene(found: Findings) -> Scene:
    """The lowest minima for the eye, each laid on the lowest."""
    from mdapp.analysis.rmsd import superpose
    from mdapp.report import Scene

    view, reference = found.view, found.library.reference
    lowest = np.argsort(view.energies, kind="stable")[:SEEN]
    x = found.library.positions()[lowest]
    labels = tuple(f"minimum {k} {view.names[k]}".rstrip() + f", {view.above[k]:.3f} eV" for k in lowest.tolist())
    shown = superpose(x, x[0]) if len(reference) > 2 else x
    return Scene(tuple(reference.symbols), found.library.identity.bonds, np.arange(len(lowest), dtype=float), shown, None, len(view.energies), labels)


def _figures(found: Findings) -> list[tuple[str, str, Figure]]:
    """Name, caption and figure of everything that can be drawn."""
    from mdapp.minima.landscape.disconnectivity import draw, pruned, tree
    from mdapp.minima.landscape.survey import flat_map
    from mdapp.minima.regions import REGIONS
    from mdapp.plots import minima as plots

    library, landscape, shares, view = found.library, found.landscape, found.shares, found.view
    drawn: list[tuple[str, str, Figure]] = []
    network = landscape.network()
    families = view.families if view.angles.residues else None
    joined, chosen = network.joined()
    names = {i: landscape.name_of(int(k)) for i, k in enumerate(chosen)}
    kinds = None if families is None else {i: families[k] for i, k in enumerate(chosen) if k < len(families)}
    if joined.edges:
        span = max(e.energy for e in joined.edges) - float(joined.energies.min())
        step = None if len(chosen) <= 60 else span / 40
        shown = np.argsort(joined.energies, kind="stable")[:MOST_LEAVES]
        alone, higher = len(network.energies) - len(chosen), len(chosen) - len(shown)
        note = "; ".join(words for words in (f"the lowest {len(shown)} of {len(chosen)}" if higher else "", f"{alone} without a saddle left out" if alone else "") if words)
        drawn.append(("disconnectivity", "Disconnectivity graph: branches meet where minima can reach each other (saddles.csv)",
                      plots.disconnectivity(draw(pruned(tree(joined, step), shown.tolist()), joined, step), names, kinds, note)))
    known = np.isfinite(view.rmsd)
    drawn.append(("energy_rmsd", "Energy against distance from the lowest minimum (minima.csv)", plots.energy_distance(
        view.rmsd[known], view.above[known], None if families is None else [f for f, k in zip(families, known, strict=True) if k], int(np.sum(~known)))))
    if view.angles.residues:
        boxes = REGIONS if len(view.angles.residues) == 1 else None
        drawn.append(("ramachandran", "Backbone torsions of the minima, coloured by energy (minima.csv)",
                      plots.ramachandran(view.angles.residues, view.angles.phi_deg, view.angles.psi_deg, view.above, boxes)))
    labels = [f"{k} {view.names[k]}".strip() for k in shares.minima]
    drawn.append(("populations", f"Populations {shares.basis} (populations.csv)", plots.populations(
        labels, shares.shares, shares.temperature_K, shares.basis, None if families is None or len(view.angles.residues) > 1 else [families[k] for k in shares.minima])))
    transitions = [(a, b) for a, b in library.transitions() if a != b]
    if len(view.energies) > 2 and (transitions or joined.edges):
        own = {int(k) for k in chosen if k < len(view.energies)} if joined.edges else set()
        near = sorted({*np.argsort(view.energies, kind="stable")[:MAPPED].tolist(), *sorted(own, key=lambda k: view.energies[k])[:MAPPED]})
        place = {k: i for i, k in enumerate(near)}
        pairs = lambda edges: [(place[a], place[b]) for a, b in edges if a in place and b in place]
        drawn.append(("network", "Minima laid out by their distances, joined by saddles and by the hops of the search (saddles.csv)", plots.network(
            flat_map(library.fingerprints()[near]), view.above[near], pairs(network.barriers()), pairs(transitions),
            [str(k) for k in near] if len(near) <= 25 else None)))
    if len(view.evaluations) > 2 and view.evaluations[-1] > 0:
        drawn.append(("discovery", "Distinct minima against evaluations of the potential", plots.discovery(view.evaluations, view.found)))
    return drawn
