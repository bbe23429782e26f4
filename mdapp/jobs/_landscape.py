"""`mdapp analyse` of a search for minima: saddles and frequencies where asked, then one page of numbers and pictures."""
from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdapp.config import AnalyseConfig
from mdapp.errors import EXIT_FINISHED, EXIT_STOPPED, RunFolderError, StructureError, UserError
from mdapp.jobs._landscape_page import Findings, MinimaSource, Word, remarks_of, rows_of, summary_of, write_findings
from mdapp.jobs._whole_folder import whole_folder
from mdapp.screen import Screen

if TYPE_CHECKING:
    from mdapp.minima.landscape.store import Landscape
    from mdapp.minima.landscape.surface import Surface
    from mdapp.minima.library import Library

COMPILE_FROM = 15  # pairs: fewer do not pay for the minute that compiled code may take


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
    from mdapp.minima.landscape.populations import degeneracies, populations
    from mdapp.minima.landscape.store import LANDSCAPE, Landscape, known_frequencies
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
        frequencies = known_frequencies(library, landscape)
        shares = populations(view.energies, config.temperature, frequencies, *degeneracies(library, config.temperature))
        found = Findings(source, library, landscape, shares, view, frequencies)
        remarks, rows = remarks_of(found), rows_of(found)
        word = "interrupted" if reason else "finished"
        sentence = f"{len(library)} minima" + (f", {len(landscape.saddles)} saddles" if landscape.saddles else "")
        sentence += f"; stopped by {reason}, the same call goes on" if reason else ""
        exit_code = EXIT_STOPPED if reason else EXIT_FINISHED
        summary = {**summary_of(found), "verdict": word, "exit_code": exit_code}
        with whole_folder(folder) as part:
            write_findings(part, found, Word(word, sentence), summary, plots=config.plots)
    return MinimaReport(source, folder, Word(word, sentence), tuple(rows), tuple(remarks), summary, exit_code)


def _search(config: AnalyseConfig, source: MinimaSource, library: Library, kept: Path, screen: Screen, should_stop: Any) -> Landscape:
    """Saddles and frequencies that are asked for and not there yet."""
    from mdapp.minima.landscape.eigenvector import FollowOptions
    from mdapp.minima.landscape.explore import find_frequencies, find_saddles
    from mdapp.minima.landscape.saddles import SaddleOptions
    from mdapp.minima.landscape.store import Landscape

    surface, name = _surface(config, source, library, screen)
    landscape = Landscape.read(library, kept, name)

    def tell(done: int, pair: tuple[int, int], crossed: Any, new: int) -> None:
        line = f"{done}/{config.saddles} pairs  {len(landscape.saddles)} saddles  last {pair[0]}-{pair[1]}: {new} new"
        screen.live(line, done / max(config.saddles, 1), last=done >= config.saddles)
        for why in crossed.reasons:
            screen.detail(f"  {pair[0]}-{pair[1]}: {why}")

    fmax = min(SaddleOptions.fmax, _number(source.settings.get("fmax"), SaddleOptions.fmax))  # minima that were sought as sharply are known again as sharply
    finer = SaddleOptions.fmax / fmax > 2
    options = SaddleOptions(follow=FollowOptions(fmax=fmax, steps=300), fmax=fmax, steps=3000) if finer else SaddleOptions()
    find_saddles(landscape, surface, config.saddles, options, on_pair=tell, should_stop=should_stop)
    find_frequencies(landscape, surface, config.frequencies, lambda k, f: screen.live(f"frequencies: {len(landscape.frequencies)} of {config.frequencies} minima"), should_stop)
    screen.end_live()
    return landscape


def _number(value: Any, otherwise: float) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else otherwise


def _surface(config: AnalyseConfig, source: MinimaSource, library: Library, screen: Screen) -> tuple[Surface, str]:
    """The search's own potential, in double precision where it is a network, and its name with a hash."""
    from mdapp.jobs._compute import device_for, set_threads
    from mdapp.jobs._potential import found_again, load
    from mdapp.minima.landscape.surface import Surface
    from potentials.calculator import PotentialCalculator, batch_evaluator

    asked = config.potential or source.settings.get("potential")
    words = (asked,) if isinstance(asked, str) else tuple(asked or ())
    if not config.potential and len(words) == 1:
        words = (found_again(words[0], tomllib.loads(source.settings_text).get("provenance", {})),)
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
