"""`mdapp analyse` of a search for minima: saddles and frequencies where asked, then one page of numbers and pictures."""
from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config import AnalyseConfig
from mdapp.errors import EXIT_FINISHED, EXIT_STOPPED, RunFolderError, StructureError, UserError
from mdapp.jobs._whole_folder import whole_folder
from mdapp.screen import Screen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mdapp.minima.landscape.populations import Populations
    from mdapp.minima.landscape.store import Landscape
    from mdapp.minima.landscape.surface import Surface
    from mdapp.minima.landscape.survey import Survey
    from mdapp.minima.library import Library

MADE_BY = "mdapp analyse"
COMPILE_FROM = 15  # pairs: fewer do not pay for the minute that compiled code may take
MOST_LEAVES = 400  # in the picture of the tree
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
class MinimaReport:
    """What was found out about one library."""

    source: MinimaSource
    folder: Path
    judgement: Word
    rows: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    summary: dict[str, Any]
    exit_code: int


def holds_minima(word: str) -> bool:
    """Is it a library of minima, or the folder of one?"""
    path = Path(word)
    return (path / "minima.h5").is_file() or (path.is_file() and path.suffix == ".h5" and path.name.startswith("minima"))


def open_minima(word: str) -> MinimaSource:
    """What is known of a search for minima before its library is read.

    Raises
    ------
    RunFolderError : settings that cannot be read.
    """
    from mdapp.trajectory.strange import refuse_strange

    path = Path(word)
    if not path.is_dir():
        return MinimaSource(word, path, None, "", {})
    refuse_strange(path)
    toml = path / "run.toml"
    text = toml.read_text(encoding="utf-8", errors="replace") if toml.is_file() else ""
    try:
        settings = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RunFolderError(f"{toml} is damaged: {error}.") from None
    return MinimaSource(word, path / "minima.h5", path, text, settings.get("minima", {}))


def analyse_minima(config: AnalyseConfig, source: MinimaSource, folder: Path, screen: Screen) -> MinimaReport:
    """The report on one library; with `saddles` or `frequencies`, what is still missing of these is computed first and kept beside the library."""
    from mdapp.jobs._stopping import Stopping
    from mdapp.minima.landscape.populations import populations
    from mdapp.minima.landscape.store import LANDSCAPE, Landscape
    from mdapp.minima.landscape.survey import survey
    from mdapp.minima.library import Library

    with Library(source.path, "r") as library:
        if not len(library):
            raise StructureError(f"{source.name} holds no minimum yet.")
        reference = library.reference
        screen.header("mdapp analyse", [("minima", f"{source.name}: {len(library)}"), ("atoms", f"{len(reference)}, {reference.symbols.formula.format('hill')}")])
        kept = source.path.with_name(LANDSCAPE)
        landscape = Landscape.read(library, kept)
        reason = None
        if config.saddles or config.frequencies:
            with Stopping(None, None) as stopping:
                landscape = _search(config, source, library, kept, screen, stopping)
                reason = stopping.reason
        view = survey(library)
        frequencies = {k: f for k in range(len(library)) if (f := library.frequencies(k)) is not None}
        shares = populations(view.energies, config.temperature, {**frequencies, **{k: f for k, f in landscape.frequencies.items() if k < len(library)}})
        remarks = _remarks(library, landscape, shares, view)
        rows = _rows(library, landscape, shares, view)
        word = "interrupted" if reason else "finished"
        sentence = f"{len(library)} minima" + (f", {len(landscape.saddles)} saddles" if landscape.saddles else "")
        sentence += f"; stopped by {reason}, the same call goes on" if reason else ""
        exit_code = EXIT_STOPPED if reason else EXIT_FINISHED
        summary = {**_summary(source, library, landscape, shares, view, remarks), "verdict": word, "exit_code": exit_code}
        with whole_folder(folder) as part:
            _write(part, config, source, library, landscape, shares, view, Word(word, sentence), rows, remarks, summary)
    return MinimaReport(source, folder, Word(word, sentence), tuple(rows), tuple(remarks), summary, exit_code)


def _search(config: AnalyseConfig, source: MinimaSource, library: Library, kept: Path, screen: Screen, should_stop: Any) -> Landscape:
    """Saddles and frequencies that are asked for and not there yet."""
    from mdapp.minima.landscape.explore import find_frequencies, find_saddles
    from mdapp.minima.landscape.store import Landscape

    surface, name = _surface(config, source, library, screen)
    landscape = Landscape.read(library, kept, name)

    def tell(done: int, pair: tuple[int, int], crossed: Any, new: int) -> None:
        line = f"{done}/{config.saddles} pairs  {len(landscape.saddles)} saddles  last {pair[0]}-{pair[1]}: {new} new"
        screen.live(line, done / max(config.saddles, 1), last=done >= config.saddles)
        for why in crossed.reasons:
            screen.detail(f"  {pair[0]}-{pair[1]}: {why}")

    find_saddles(landscape, surface, config.saddles, on_pair=tell, should_stop=should_stop)
    find_frequencies(landscape, surface, config.frequencies, lambda k, f: screen.live(f"frequencies: {len(landscape.frequencies)} of {config.frequencies} minima"), should_stop)
    screen.end_live()
    return landscape


def _surface(config: AnalyseConfig, source: MinimaSource, library: Library, screen: Screen) -> tuple[Surface, str]:
    """The search's own potential, in double precision where it is a network, and its name with a hash."""
    from mdapp.jobs._compute import device_for, set_threads
    from mdapp.jobs._potential import load
    from mdapp.minima.landscape.surface import Surface
    from potentials.calculator import PotentialCalculator, batch_evaluator

    asked = config.potential or source.settings.get("potential")
    words = (asked,) if isinstance(asked, str) else tuple(asked or ())
    if not words:
        raise UserError(f"{source.name} does not say which potential it was made with: name it with --potential.")
    device = device_for("auto")
    potential = load(words, device, None)
    if isinstance(potential.calculator, PotentialCalculator) and potential.dtype == "float32":
        potential = load(words, device, "float64")  # differences of forces make Hessians
    compiled = isinstance(potential.calculator, PotentialCalculator) and device == "cpu" and config.saddles >= COMPILE_FROM
    set_threads(None, len(library.reference), compiled)
    try:
        evaluate = batch_evaluator(potential.calculator, compiled=compiled)
    except ValueError:  # no compiler, or terms that are not compiled
        evaluate = batch_evaluator(potential.calculator)
    surface = Surface(library.reference, evaluate)
    lowest = int(library.by_energy()[0])
    energy = float(surface(library.positions()[lowest][None])[0][0])
    if abs(energy - library.energies()[lowest]) > 0.05:
        raise UserError(f"{potential.title} gives {energy:.4f} eV for the lowest minimum, the library says {library.energies()[lowest]:.4f} eV: it was made with another "
                        "potential. Name that one with --potential.")
    screen.say(f"  potential  {potential.title}, {potential.dtype}, {device}")
    return surface, f"{Path(potential.title).name} {potential.fingerprint[:16]}"


def _remarks(library: Library, landscape: Landscape, shares: Populations, view: Survey) -> list[str]:
    found = []
    if not landscape.tried:
        found.append("No saddles have been looked for: mdapp analyse FOLDER --saddles 50 tries fifty pairs of neighbouring minima.")
    if not shares.harmonic:
        found.append("Populations are from energies alone: --frequencies N gives harmonic free energies of the N lowest minima.")
    if landscape.n_extra:
        found.append(f"{landscape.n_extra} of the minima below saddles are not in the library; they are named x0, x1, ...")
    if not view.angles.residues:
        found.append("No peptide backbone was found: no Ramachandran map.")
    if np.isnan(view.rmsd).any():
        found.append(f"Distances were measured for the {int(np.isfinite(view.rmsd).sum())} lowest minima.")
    return found


def _rows(library: Library, landscape: Landscape, shares: Populations, view: Survey) -> list[tuple[str, str]]:
    """The numbers that a person asks for first."""
    from mdapp.minima.completeness import completeness

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


def _summary(source: MinimaSource, library: Library, landscape: Landscape, shares: Populations, view: Survey, remarks: list[str]) -> dict[str, Any]:
    """The same numbers for a machine."""
    angles = view.angles
    regions = {name: {"minimum": k, "above_lowest_eV": float(view.above[k]), "phi_deg": angles.phi_deg[k].round(2).tolist(), "psi_deg": angles.psi_deg[k].round(2).tolist()}
               for name, k in view.lowest_of_each_region().items()}
    network = landscape.network()
    top = np.argsort(-shares.shares)[:50]
    return {
        "made_by": MADE_BY, "run": source.name, "n_atoms": len(library.reference), "n_minima": len(view.energies), "n_visits": int(view.visits.sum()), "lowest": view.lowest,
        "lowest_energy_eV": float(view.energies.min()), "regions": dict(list(regions.items())[:50]), "n_saddles": len(landscape.saddles), "n_pairs_tried": len(landscape.tried),
        "n_minima_from_saddles": landscape.n_extra, "barriers_eV": sorted(round(float(e.energy - network.energies.min()), 6) for e in network.barriers().values()),
        "populations": {"temperature_K": shares.temperature_K, "harmonic": shares.harmonic, "shares": {str(shares.minima[k]): float(shares.shares[k]) for k in top}},
        "remarks": remarks,
    }


def _write(folder: Path, config: AnalyseConfig, source: MinimaSource, library: Library, landscape: Landscape, shares: Populations, view: Survey, word: Word,
           rows: list[tuple[str, str]], remarks: list[str], summary: dict[str, Any]) -> None:
    from mdapp import version
    from mdapp.plots.style import save
    from mdapp.report import Page, Picture, Section, html_report

    view.to_csv(folder / "minima.csv")
    shares.to_csv(folder / "populations.csv")
    if landscape.tried:
        landscape.network().to_csv(folder / "saddles.csv")
    pictures = []
    if config.plots:
        for name, caption, figure in _figures(library, landscape, shares, view):
            pictures.append(Picture(save(figure, folder / f"{name}.png", svg=name == "disconnectivity"), caption))
    (folder / "summary.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    title = Path(source.name).name or source.name
    page = Page(title, word.word, word.sentence + ".", rows, remarks=remarks, sections=[Section("Figures", tuple(pictures))], settings=source.settings_text,
                footer=f"Made by mdapp {version()}.")
    (folder / "report.html").write_text(html_report(page), encoding="utf-8")


def _figures(library: Library, landscape: Landscape, shares: Populations, view: Survey) -> list[tuple[str, str, Figure]]:
    """Name, caption and figure of everything that can be drawn."""
    from mdapp.minima.landscape.disconnectivity import draw, pruned, tree
    from mdapp.minima.landscape.survey import flat_map
    from mdapp.minima.regions import REGIONS
    from mdapp.plots import minima as plots

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
        pairs = lambda found: [(place[a], place[b]) for a, b in found if a in place and b in place]
        drawn.append(("network", "Minima laid out by their distances, joined by saddles and by the hops of the search (saddles.csv)", plots.network(
            flat_map(library.fingerprints()[near]), view.above[near], pairs(network.barriers()), pairs(transitions),
            [str(k) for k in near] if len(near) <= 25 else None)))
    if len(view.evaluations) > 2 and view.evaluations[-1] > 0:
        drawn.append(("discovery", "Distinct minima against evaluations of the potential", plots.discovery(view.evaluations, view.found)))
    return drawn
