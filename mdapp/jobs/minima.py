"""`mdapp minima`: a structure and a potential in, a library of minima out.

The folder holds `run.toml` (settings, where they came from), `input.extxyz` (the start as read), `minima.h5` (the library), `hops.jsonl` (every hop, from which a
search is put together again), `lowest.extxyz` (the lowest minima, the lowest first) and `summary.json`.
"""
from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mdapp.config import MinimaConfig, ResumeConfig
from mdapp.errors import EXIT_FINISHED, EXIT_STOPPED, Interrupted, RunFolderError, UserError
from mdapp.jobs._log import Teller
from mdapp.jobs._minima_start import Setting, prepare, provenance
from mdapp.jobs._potential import file_hash, found_again
from mdapp.jobs._report import versions
from mdapp.jobs._stopping import Stopping
from mdapp.minima.completeness import Completeness
from mdapp.minima.driver import Progress, Search, SearchResult
from mdapp.minima.engine import Hopper
from mdapp.minima.journal import HOPS, read_hops
from mdapp.minima.library import LIBRARY, Library, Sameness
from mdapp.screen import Screen, shown_duration, silent
from mdapp.toml import fill, read_settings, to_toml, toml_value
from mdapp.trajectory import RunFolder, RunLock, create_run_folder, planned_run_folder, write_input
from mdapp.trajectory.files import replacing, write_text

LOWEST, KEPT_LOWEST, WRITE_LOWEST_S = "lowest.extxyz", 100, 10.0


@dataclass(frozen=True)
class MinimaResult:
    """What became of a search."""

    folder: Path
    exit_code: int
    summary: dict[str, Any]


def minima(config: MinimaConfig, screen: Screen | None = None) -> MinimaResult:
    """Search for the minima of a molecule or cluster.

    Parameters
    ----------
    config : what is asked for.
    screen : where to show progress; nowhere when not given.

    Returns
    -------
    The folder, the exit code (0 at a limit that was asked for, 3 where a signal, `--wall-time` or a file STOP ended it before) and the summary.

    Raises
    ------
    UserError : the search is impossible as asked for; nothing was written.
    """
    from mdapp.jobs.run import deadline, refuse_to_begin

    screen = screen or silent()
    with Stopping(None, deadline(config.wall_time, time.monotonic())) as stopping:
        planned_run_folder(config.structure, "minima", None, config.output)  # refuses before any work is done
        setting = prepare(config, screen)
        refuse_to_begin(stopping)
        folder = create_run_folder(config.structure, "minima", None, config.output)
        stopping.stop_file = folder.stop
        with RunLock(folder.path):
            try:
                write_input(folder.input, setting.original)
                write_text(folder.config, _record(setting, folder))  # from here on the folder can be resumed
                return _session(setting, folder, screen, stopping, "mdapp minima")
            except UserError:
                if not _has_minima(folder):
                    folder.discard()
                raise


def resume_minima(config: ResumeConfig, folder: RunFolder, screen: Screen, stopping: Stopping) -> MinimaResult:
    """Go on with a search whose folder is open and locked; `mdapp resume` comes here where it finds one.

    Raises
    ------
    RunFolderError : run.toml is damaged, or structure or potential are not what they were.
    """
    for name in ("steps", "time"):
        if getattr(config, name) is not None:
            raise UserError(f"{folder.path} is a search for minima, which has no --{name}. Give --hops or --minima, the totals, which take the place of all limits before.")
    asked, where = stored_search(folder)
    if config.hops is not None or config.minima is not None:  # in place of all limits before: what had ended the search would end it again
        asked = replace(asked, hops=config.hops, minima=config.minima, time=None, complete=None)
    asked = replace(asked, wall_time=config.wall_time, device=config.device or asked.device, threads=config.threads or asked.threads)
    if not folder.input.is_file():
        raise RunFolderError(f"{folder.input} is missing; bring it back to resume the search.")
    if where.get("input_sha256") not in (None, file_hash(folder.input)):
        raise RunFolderError(f"{folder.input} is not the structure that the search began with. Bring the right one back, or start a new search.")
    setting = prepare(asked, screen, resumed_from=folder.input)
    if setting.potential.fingerprint != where.get("potential_sha256"):
        raise RunFolderError(f"{folder.path}: the potential {setting.potential.title} is not the one that the search began with. "
                             "Bring the right one back, or start a new search.")
    if stopping():
        raise Interrupted(f"Interrupted by {stopping.reason} before the first hop; {folder.path} stays as it was.")
    _write_totals(folder, setting)
    folder.summary.unlink(missing_ok=True)
    return _session(setting, folder, screen, stopping, "mdapp resume")


def is_search(folder: RunFolder) -> bool:
    """Whether a folder holds a search for minima, by the table in its run.toml."""
    import tomllib

    try:
        return "minima" in tomllib.loads(folder.config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return (folder.path / LIBRARY).exists()


def stored_search(folder: RunFolder) -> tuple[MinimaConfig, dict[str, Any]]:
    """The configuration in run.toml and where the search came from.

    Raises
    ------
    RunFolderError : run.toml is missing or damaged.
    """
    import tomllib

    from mdapp.jobs.resume import refuse_code_in

    try:
        settings = fill(MinimaConfig, read_settings(str(folder.config), "minima"), str(folder.config))
        where = tomllib.loads(folder.config.read_text(encoding="utf-8")).get("provenance", {})
    except UserError as error:
        raise RunFolderError(f"{folder.path} cannot be resumed. {error}") from None
    refuse_code_in(folder.path, settings.potential)
    if len(settings.potential) == 1:
        settings = replace(settings, potential=(found_again(settings.potential[0], where),))
    return settings, where


def _has_minima(folder: RunFolder) -> bool:
    """Whether a hop has found something that is kept."""
    return (folder.path / HOPS).exists() and any(hop.found is not None for hop in read_hops(folder.path / HOPS))


def _session(setting: Setting, folder: RunFolder, screen: Screen, stopping: Stopping, verb: str) -> MinimaResult:
    """One stretch of a search, from where its folder stands."""
    config, teller = setting.config, Teller(screen, folder.log)
    rows = _header(setting, folder)
    screen.header(verb, rows)
    teller.rows(verb, rows)
    for warning in setting.warnings:
        teller.warn(warning)
    sameness = Sameness(rmsd_max=config.rmsd, energy_window_eV=config.same_energy)
    try:
        with Library(folder.path / LIBRARY, "a", like=setting.original, sameness=sameness) as library:
            live = _Live(screen, setting, library, folder.path / LOWEST)
            hopper = _hopper(setting, teller)
            search = Search(setting.molecule, [setting.molecule.reference], setting.moves, hopper, library, setting.options, folder.path / HOPS)
            if search.journal.past:
                teller.say(f"{len(library)} minima from {search.hops} hops are there already.")
            if search.journal.dropped:
                teller.note(f"{search.journal.dropped} lines of {HOPS} were cut off; their hops are made again.")
            result = search.run(stopping, live)
            live.write_lowest()
    except UserError:
        raise
    except Exception as error:
        teller.error(error)
        error.run_log = folder.log  # type: ignore[attr-defined]
        raise
    return _close(setting, folder, result, stopping, teller)


def _hopper(setting: Setting, teller: Teller) -> Hopper:
    """What hops: this process, or the workers of a cluster."""
    if setting.config.cluster is None:
        return setting.engine()
    from mdapp.jobs._minima_cluster import workers_of

    return workers_of(setting, teller)


class _Live:
    """Receives the progress after each hop: the live line, and lowest.extxyz now and then."""

    def __init__(self, screen: Screen, setting: Setting, library: Library, path: Path):
        self.screen, self.setting, self.library, self.path = screen, setting, library, path
        self._written, self._lowest = time.monotonic(), float("inf")

    def __call__(self, p: Progress) -> None:
        share = p.hops / self.setting.config.hops if self.setting.config.hops else 0.0
        if self.screen.due(share):
            self.screen.live(progress_words(p), share)
        if p.lowest_eV < self._lowest and time.monotonic() - self._written > WRITE_LOWEST_S:
            self._lowest = p.lowest_eV
            self.write_lowest()

    def write_lowest(self) -> None:
        """The lowest minima, the lowest first, as extended xyz."""
        from ase.io.extxyz import write_extxyz

        self._written = time.monotonic()
        if not len(self.library):
            return
        frames = []
        for index in self.library.by_energy()[:KEPT_LOWEST]:
            atoms = self.library.atoms(int(index))
            atoms.info.update(minimum=int(index), visits=int(self.library.visits(int(index))))
            frames.append(atoms)
        with replacing(self.path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
            write_extxyz(stream, frames)


def progress_words(p: Progress) -> str:
    """'412 hops  137 minima  23 new/100 hops  lowest -12.3456 eV  complete 61 % (of about 225)  6:12 left'."""
    lowest = f"lowest {p.lowest_eV:.4f} eV" if math.isfinite(p.lowest_eV) else "nothing found yet"
    parts = [f"{p.hops} hops", f"{p.minima} minima", f"{p.new_per_hundred:.0f} new/100 hops", lowest, completeness_words(p.completeness)]
    return "  ".join([*parts, *([f"{shown_duration(p.left_s)} left"] if p.left_s is not None else [])])


def completeness_words(c: Completeness) -> str:
    if c.visits < 10:
        return "too few visits to tell how many there are"
    return f"complete {100 * c.share:.0f} % (of about {c.expected:.0f}, coverage {100 * c.coverage:.0f} %)"


def _header(setting: Setting, folder: RunFolder) -> list[tuple[str, str]]:
    c, m = setting.config, setting.molecule
    ends = [f"{c.hops} hops" if c.hops else "", f"{c.minima} minima" if c.minima else "", shown_duration(c.time) if c.time else "",
            f"{100 * c.complete:g} % found" if c.complete else ""]
    return [("structure", f"{c.structure}, {len(m)} atoms, {setting.original.symbols.formula.format('hill')}"),
            ("potential", setting.potential.title),
            ("moves", ", ".join(setting.moves)),
            ("walkers", f"{c.walkers} in one batch on {c.device}" if c.cluster is None else f"{c.walkers} on Dask ({c.cluster})"),
            ("until", ", ".join(e for e in ends if e) + f"; seed {c.seed}"),
            ("folder", str(folder.path))]


def _record(setting: Setting, folder: RunFolder) -> str:
    """run.toml: every resolved setting, and where the search came from."""
    where = {**provenance(setting), "input_sha256": file_hash(folder.input)}
    lines = ["[provenance]", *(f"{key} = {toml_value(value)}" for key, value in where.items())]
    lines += ["", "[provenance.versions]", *(f"{name} = {toml_value(version)}" for name, version in versions().items())]
    return to_toml(setting.config, "minima") + "\n" + "\n".join(lines) + "\n"


def _write_totals(folder: RunFolder, setting: Setting) -> None:
    """The new limits in run.toml; everything else stays as the first session wrote it."""
    import re

    text = new = folder.config.read_text(encoding="utf-8")
    for name in ("hops", "minima", "time", "complete"):
        value = getattr(setting.config, name)
        line = f"# {name}: not given" if value is None else f"{name} = {toml_value(value)}"
        new = re.sub(rf"(?m)^(?:{name} = \S+|# {name}: not given)", line, new, count=1)
    if new != text:
        write_text(folder.config, new)


def _close(setting: Setting, folder: RunFolder, result: SearchResult, stopping: Stopping, teller: Teller) -> MinimaResult:
    p, c = result.progress, result.progress.completeness
    stopped = result.reason == "stopped"
    verdict, exit_code = ("interrupted", EXIT_STOPPED) if stopped else ("finished", EXIT_FINISHED)
    ends = {"hops": f"{p.hops} hops are made", "minima": f"{p.minima} minima are found", "time": "the time is up", "complete": "the library is as complete as asked for",
            "stopped": f"stopped by {stopping.reason}"}
    what = f"{p.minima} distinct minima, the lowest at {p.lowest_eV:.4f} eV" if math.isfinite(p.lowest_eV) else "nothing is found yet"
    why = f"{ends[result.reason]}; {what}."
    arms = {name: {"hops": arm.hops, "new": arm.all_new, "evaluations": arm.all_evaluations, "new_per_1000_evaluations": round(arm.per_thousand, 3)}
            for name, arm in result.mixture.arms.items()}
    summary = {
        "verdict": verdict, "why": why, "exit_code": exit_code, "folder": str(folder.path), "reason": result.reason, "minima": p.minima, "hops": p.hops,
        "evaluations": p.evaluations,
        "lowest_eV": p.lowest_eV if math.isfinite(p.lowest_eV) else None, "lowest_after_hops": p.lowest_at, "new_per_hundred_hops": round(p.new_per_hundred, 2),
        "completeness": {"found": c.found, "visits": c.visits, "coverage": c.coverage, "expected": c.expected, "expected_low": c.low,
                         "expected_high": c.high if c.high < 1e300 else None, "share": c.share},
        "refused": dict(p.refused), "moves": arms, "seconds": round(p.seconds, 1), "seed": setting.config.seed, "potential": setting.potential.title,
    }  # fmt: skip
    write_text(folder.summary, json.dumps(summary, indent=1, allow_nan=False) + "\n")
    rows = [("found", f"{p.minima} minima in {p.hops} hops, {p.evaluations} evaluations, {shown_duration(p.seconds)}"), ("library", completeness_words(c))]
    rows += [("move", f"{name}: {a['new']} new in {a['hops']} hops, {a['new_per_1000_evaluations']:.2f} per 1,000 evaluations") for name, a in arms.items()]
    if p.refused:
        rows.append(("refused", ", ".join(f"{n} {fate}" for fate, n in sorted(p.refused.items()))))
    rows.append(("written", f"{folder.path}: {LIBRARY}, {LOWEST}, {HOPS}"))
    teller.rows(f"{verdict}: {why}", rows)
    following = f"mdapp resume {folder.path}" + ("" if stopped else f" --hops {2 * p.hops}")
    teller.screen.close(verdict, why, rows, following)
    return MinimaResult(folder.path, exit_code, summary)
