"""`mdapp learn`: a committee that asks for the labels that it needs.

Round after round: label what was chosen, train every member from its last weights on all labels, measure error and spread on held-out configurations,
explore with the committee, and choose of what it came to the configurations on which its members disagree and that are unlike each other. The loop ends
when error and spread are flat, when nothing that it comes to is uncertain any more, or after as many rounds as were allowed.
"""
from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdapp.config.label import LabelConfig
from mdapp.config.learn import LearnConfig
from mdapp.errors import EXIT_FINISHED, EXIT_NOT_CONVERGED, EXIT_STOPPED, StructureError, UserError
from mdapp.jobs._learn_folder import HELD_OUT, LOCK, SUMMARY, LearnFolder, write_structures
from mdapp.jobs._learn_start import known_frames, labelled_frames, refuse_bad_training, starts_of, theory_of
from mdapp.jobs._learn_train import LoopStopped, judged, spreads_of, train_member
from mdapp.screen import Screen, silent
from potentials.typed import ConfigError, from_mapping, to_mapping

if TYPE_CHECKING:
    from ase import Atoms

CLOSE_BY = 50  # labelled configurations of each round at most that new ones are held against


@dataclass(frozen=True)
class LearnResult:
    """How the loop ended; `members` are the potential files of the last complete round."""

    summary: dict[str, Any]
    exit_code: int
    members: tuple[Path, ...] = ()


def learn(config: LearnConfig | str | Path, screen: Screen | None = None, *, resume: bool = False, changes: Mapping[str, Any] | None = None) -> LearnResult:
    """Run the loop, or go on with it.

    Parameters
    ----------
    config : the record, or a TOML file with its table [learn].
    changes : keys of [learn] that take the place of the file's; not with a record.

    Raises
    ------
    UserError : a setting that does not fit, an output folder that holds something, structures or labels that cannot be used.
    """
    from mdapp.jobs._compute import device_for, set_threads
    from mdapp.jobs._stopping import Stopping
    from mdapp.trajectory import RunLock

    screen = screen or silent()
    settings = config if isinstance(config, LearnConfig) else read(config, changes)
    settings = replace(settings, device=device_for(settings.device))
    starts = starts_of(settings)
    refuse_bad_training(settings)
    theory = theory_of(settings.calculator)
    folder = LearnFolder(Path(settings.output), to_mapping(settings), resume)
    set_threads(settings.threads, max(len(a) for a in starts))
    with RunLock(folder.path, LOCK), Stopping(folder.path / "STOP", None) as stop:
        screen.header("mdapp learn", [
            ("structures", f"{len(starts)}, of {min(len(a) for a in starts)} to {max(len(a) for a in starts)} atoms"), ("labels by", f"{settings.calculator} ({theory})"),
            ("committee", f"{settings.members} of {settings.train.get('potential', {}).get('name', 'so3krates') if settings.begin_from is None else settings.begin_from}"),
            ("explore", f"{settings.explore.method}, at most {settings.rounds} rounds of {settings.labels} labels"), ("output", str(folder.path))])
        return _Loop(settings, folder, starts, theory, screen, stop).go()


def read(path: str | Path, changes: Mapping[str, Any] | None = None) -> LearnConfig:
    """The loop that a TOML file describes under [learn].

    Raises
    ------
    UserError : no such file, not TOML, an unknown key or a value that does not fit.
    """
    from mdapp.toml import read_settings

    try:
        return from_mapping(LearnConfig, {**read_settings(str(path), "learn"), **(changes or {})}, f"{path}, [learn]")
    except ConfigError as error:
        raise UserError(str(error)) from error


def resolved(path: str | Path, changes: Mapping[str, Any] | None = None) -> str:
    """Every setting as TOML, for --dry-run."""
    from mdapp.jobs._learn_folder import _toml

    return "\n".join(_toml("learn", to_mapping(read(path, changes)))) + "\n"


class _Loop:
    """What the rounds share."""

    def __init__(self, config: LearnConfig, folder: LearnFolder, starts: Sequence[Atoms], theory: str, screen: Screen, stop: Any):
        self.config, self.folder, self.starts, self.theory, self.screen, self.stop = config, folder, starts, theory, screen, stop
        self.elements = sorted({int(z) for a in starts for z in a.numbers})
        self.begin = time.monotonic()

    def go(self) -> LearnResult:
        rows = self.folder.complete_rounds()
        if rows:
            self.screen.say(f"{len(rows)} rounds are done already.")
        try:
            while (why := self._ended(rows)) is None:
                rows.append(self._round(len(rows), rows))
                self.folder.write_rounds(rows)
        except LoopStopped:
            return self._close(rows, "interrupted", EXIT_STOPPED, f"{self.stop.reason or 'told to'}; {len(rows)} rounds are complete. Go on with --resume.")
        return self._close(rows, "finished" if why[0] else "not converged", EXIT_FINISHED if why[0] else EXIT_NOT_CONVERGED, why[1])

    def _ended(self, rows: Sequence[dict[str, Any]]) -> tuple[bool, str] | None:
        """Whether the goal is reached, and why the loop ends; None while it goes on."""
        c = self.config
        if rows and rows[-1]["chosen"] == 0:
            return True, f"nothing that the committee came to is uncertain by {c.least_spread:g} eV/Å or more."
        if len(rows) > c.patience and all(_flat(a, b, c.flat) for a, b in zip(rows[-c.patience - 1 :], rows[-c.patience :])):
            return True, f"error and spread have fallen by less than {100 * c.flat:g} % in each of the last {c.patience} rounds."
        if len(rows) >= c.rounds:
            return False, f"{c.rounds} rounds were not enough for error and spread to become flat; more rounds may pay (--rounds, --resume)."
        return None

    def _round(self, number: int, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        c, here = self.config, self.folder.round(number)
        begin = time.monotonic()
        if number == 0:
            self._first(here)
        labelled = self._label(here / "chosen.extxyz", here / "labelled.xyz") if (here / "chosen.extxyz").exists() else []
        files = [Path(f) for f in c.given] + [f for k in range(number + 1) if (f := self.folder.round(k) / "labelled.xyz").exists()]
        members = []
        for m in range(c.members):
            before = self.folder.round(number - 1) / f"member-{m}" / "best.pt" if number and c.from_last else None
            members.append(train_member(c, m, files, here / f"member-{m}", before, self.theory, self.stop))
            self._go_on()
        errors = judged(members, self._held_out(), c.device)
        explored, spreads, which = self._explore(here, members, number)
        chosen = [explored.found[k] for k in which]
        if not chosen and (explored.reasons or (spreads > c.most_spread).any()):  # lost at once: nothing that it came to can be believed
            rng = np.random.default_rng([c.seed, number, 11])
            chosen = [_thrown(self.starts[k % len(self.starts)], c.first_rattle, rng) for k in range(c.labels)]
            self.screen.warn(f"round {number}: the committee came to nothing that it could be asked about; {c.labels} start structures, thrown off, are labelled.")
        row = {"round": number, "labels": sum(len(known_frames(f)) for f in files), "new_labels": len(labelled), **errors,
               "explored": len(explored.found), "explored_spread_eV_A": float(spreads[np.isfinite(spreads)].max()) if np.isfinite(spreads).any() else None,
               "uncertain": int((spreads >= c.least_spread).sum()), "chosen": len(chosen), "held_ps": explored.mean_held_ps,
               "held_most_ps": c.explore.steps * c.explore.timestep_fs / 1000 if c.explore.method == "md" else None, "broken": len(explored.reasons),
               "seconds": round(time.monotonic() - begin, 1), "reasons": explored.reasons}
        if chosen:
            write_structures(self.folder.round(number + 1) / "chosen.extxyz", chosen)
        self.folder.finish_round(number, row)
        held = f"; dynamics held {row['held_ps']:.3g} of {row['held_most_ps']:.3g} ps" if row["held_ps"] is not None else ""
        self.screen.say(f"round {number}: {row['labels']} labels; held-out forces {1000 * errors['forces_rmse_eV_A']:.3g} meV/Å (RMSE), spread "
                        f"{1000 * errors['held_out_spread_eV_A']:.3g} meV/Å{held}; {row['uncertain']} of {row['explored']} configurations uncertain, {len(chosen)} chosen.")
        return row

    def _first(self, here: Path) -> None:
        """Configurations of the first round and those that are held out: where the potential that it begins from comes to, or start structures, thrown off."""
        c, source, chosen = self.config, self.folder.path / "held-out-unlabelled.extxyz", here / "chosen.extxyz"
        n_out, n_first = 0 if c.held_out_files else c.first_held_out, 0 if c.given else c.first
        if (n_out and not source.exists()) or (n_first and not chosen.exists()):
            some = self._first_structures(here, n_out + n_first)  # the same whatever a kill has left
            for path, part in ((source, some[:n_out]), (chosen, some[n_out:])):
                if part and not path.exists():
                    write_structures(path, part)
        if n_out and not self._label(source, self.folder.path / HELD_OUT):  # goes on where a kill has left some of them unlabelled
            raise StructureError(f"{c.calculator} could label none of the held-out structures; see {self.folder.path / 'held-out.failed.csv'}.")

    def _first_structures(self, here: Path, n: int) -> list[Atoms]:
        """In an order drawn at random; filled up with start structures, thrown off, where dynamics came to fewer."""
        c, found = self.config, []
        rng = np.random.default_rng([c.seed, 999_983])
        if c.begin_from is not None:
            from mdapp.jobs._learn_explore import explore, unbroken

            explored = unbroken(explore(c, self.starts, [Path(c.begin_from)], here / "before", 999_983, self.stop))
            self._go_on()
            found = [explored.found[k] for k in rng.permutation(len(explored.found))[:n]]
        return found + [_thrown(self.starts[k % len(self.starts)], c.first_rattle, rng) for k in range(n - len(found))]

    def _label(self, source: Path, target: Path) -> list[Atoms]:
        """The labels of a file of configurations; those that failed are left behind."""
        from mdapp.jobs._structures import read_all
        from mdapp.jobs.label import label_all

        config = LabelConfig((str(source),), self.config.calculator, output=str(target), workers=self.config.workers, resume=True)
        result = label_all(config, read_all((str(source),)), target, silent(), self.stop)
        if result.exit_code == EXIT_STOPPED:
            if self.stop.reason is None:
                self.stop.reason = "a signal"  # it came to the labels, which had hold of it
            raise LoopStopped
        return labelled_frames(target) if target.exists() else []

    def _held_out(self) -> list[Atoms]:
        files = [Path(f) for f in self.config.held_out_files] or [self.folder.path / HELD_OUT]
        return [atoms for file in files for atoms in known_frames(file)]

    def _explore(self, here: Path, members: Sequence[Path], number: int) -> tuple[Any, np.ndarray, list[int]]:
        from mdapp.jobs._learn_explore import explore, unbroken
        from potentials.active_learning import uncertain_and_diverse
        from potentials.active_learning.descriptors import descriptors_of
        from potentials.checkpoint import load_potential

        c = self.config
        explored = unbroken(explore(c, self.starts, members, here / "explore", number, self.stop))
        self._go_on()
        spreads = spreads_of(members, explored.found, c.device) if explored.found else np.zeros(0)
        if c.selection == "random":
            sound = np.flatnonzero(spreads <= c.most_spread)
            rng = np.random.default_rng([c.seed, number, 7])
            return explored, spreads, [int(k) for k in rng.permutation(sound)[: c.labels]]
        first = load_potential(members[0])
        known = [a for k in range(number + 1) for a in labelled_frames(self.folder.round(k) / "labelled.xyz")[-CLOSE_BY:]]
        known_points = descriptors_of(known, first, self.elements) if known else None
        points = descriptors_of(explored.found, first, self.elements) if explored.found else np.zeros((0, 1))
        return explored, spreads, uncertain_and_diverse(spreads, points, c.labels, c.least_spread, c.most_spread, known_points)

    def _go_on(self) -> None:
        if self.stop():
            raise LoopStopped

    def _close(self, rows: Sequence[dict[str, Any]], verdict: str, exit_code: int, why: str) -> LearnResult:
        from mdapp.trajectory.files import write_text

        members = tuple(self.folder.round(len(rows) - 1) / f"member-{m}" / "best.pt" for m in range(self.config.members)) if rows else ()
        summary = {"verdict": verdict, "why": why, "exit_code": exit_code, "output": str(self.folder.path), "calculator": self.config.calculator,
                   "level_of_theory": self.theory, "rounds": len(rows), "labels": rows[-1]["labels"] if rows else 0, "members": [str(m) for m in members],
                   "history": list(rows), "seconds": round(time.monotonic() - self.begin, 1)}
        write_text(self.folder.path / SUMMARY, json.dumps(summary, indent=1, allow_nan=False) + "\n")
        pattern = self.folder.round(len(rows) - 1) / "member-*" / "best.pt"
        self.screen.close(verdict, why, [("written", f"{self.folder.path}/rounds.csv and learning.png")] if rows else [],
                          f"mdapp run {self.config.starts[0]} --potential '{pattern}'" if rows else None)
        return LearnResult(summary, exit_code, members)


def _flat(before: Mapping[str, Any], now: Mapping[str, Any], share: float) -> bool:
    return all(now[name] > (1 - share) * before[name] for name in ("forces_rmse_eV_A", "held_out_spread_eV_A"))


def _thrown(start: Atoms, by: float, rng: np.random.Generator) -> Atoms:
    atoms = start.copy()
    atoms.positions += rng.normal(0.0, by, atoms.positions.shape)
    return atoms
