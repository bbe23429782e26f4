"""`mdapp train`: a TOML file in, a trained potential out."""
from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdapp.errors import EXIT_FINISHED, EXIT_INPUT, EXIT_STOPPED, Interrupted, UserError
from mdapp.screen import Screen, silent
from mdapp.toml import toml_value
from potentials.typed import ConfigError, to_mapping

if TYPE_CHECKING:
    from potentials.training.config import TrainConfig


LOCK = "train.lock"


class TrainingDataError(UserError):
    """Labelled data that cannot be used."""

    exit_code = EXIT_INPUT


@dataclass(frozen=True)
class TrainResult:
    """How a training ended."""

    summary: dict[str, Any]
    exit_code: int  # 3 where a signal or a file STOP ended it before the end


def train(
    config: TrainConfig | str | Path, screen: Screen | None = None, *, resume: bool = False, changes: Mapping[str, Any] | None = None
) -> TrainResult:
    """Train a potential, or go on with a training.

    Parameters
    ----------
    config : the record, or a TOML file with its table [train].
    screen : where to show progress; nowhere when not given.
    resume : go on from `last.pt` in the output folder.
    changes : keys of [train] that take the place of the file's; not with a record.

    Raises
    ------
    UserError : a setting that does not fit, an output folder that holds a training, data that cannot be used.
    """
    import torch

    from mdapp.jobs._compute import device_for
    from mdapp.jobs._evaluate_data import listening
    from mdapp.jobs._stability import stability_runs
    from mdapp.jobs._stopping import Stopping
    from mdapp.jobs._training_report import Parity, write_training_report
    from mdapp.trajectory.lock import RunLock
    from potentials.data.labelled import DataError
    from potentials.registry import UnknownName
    from potentials.training.compiled import compiled_predictor
    from potentials.training.config import TrainConfig, read_config
    from potentials.training.distributed import leads
    from potentials.training.evaluate import plain_predictor
    from potentials.training.fit import TrainingError, fit
    from potentials.training.screen import TrainingScreen

    screen, begun = (screen if leads() else None) or silent(), False
    torch.set_flush_denormal(True)  # products of tiny basis values and gradients become subnormal, and a CPU halves its speed on them
    try:
        settings = config if isinstance(config, TrainConfig) else read_config(config, changes)
    except (ConfigError, OSError) as error:
        raise UserError(str(error)) from error
    try:
        folder = Path(settings.output)
        settings = replace(settings, device=device_for(settings.device))
        stability = None if settings.stability is None else stability_runs(settings.stability, settings.device, screen)
        parity = Parity()
        with Stopping(folder / "STOP", None) as stop, ExitStack() as held, listening(screen.say, at_once=True):
            if resume and folder.is_dir() and leads():
                held.enter_context(RunLock(folder, LOCK))

            def prepared() -> None:  # by the first process alone
                nonlocal begun
                if not resume:
                    held.enter_context(RunLock(folder, LOCK))
                _write(folder / "config.toml", _toml(settings))
                begun = True

            result = fit(
                settings,
                resume=resume,
                predictor=compiled_predictor if settings.compile else plain_predictor,
                should_stop=stop,
                screen=TrainingScreen(screen._stream, quiet=screen.quiet),
                prepared=prepared,
                stability=stability,
                seen=parity.add,
            )
            if result.evaluation is not None:
                write_training_report(folder, result, parity)
    except DataError as error:
        raise TrainingDataError(str(error)) from error
    except FileNotFoundError as error:
        if begun:
            raise _cut_short(error, folder) from error
        raise TrainingDataError(str(error)) from error
    except (ConfigError, UnknownName, TrainingError) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        if begun:
            raise _cut_short(error, folder) from error
        raise UserError(f"Cannot write to {error.filename or folder}: {error.strerror or error}.") from error
    summary = {
        "verdict": "finished" if result.finished else "stopped",
        "why": ("the validation loss had stopped falling" if result.out_of_patience else "as asked") if result.finished else stop.reason or "another process was told to",
        "folder": str(folder),
        "potential": str(folder / "best.pt"),
        "steps": result.steps,
        "epochs": result.epochs,
        "skipped_batches": result.skipped,
        **({} if result.evaluation is None else result.evaluation.summary["errors"]),
        "exit_code": EXIT_FINISHED if result.finished else EXIT_STOPPED,
    }
    _close(summary, screen)
    return TrainResult(summary, summary["exit_code"])


def _cut_short(error: OSError, folder: Path) -> Interrupted:
    """A full disk, or a folder that has gone, in the middle of a training."""
    goes_on = f"{folder / 'last.pt'} is whole: go on from there with --resume." if (folder / "last.pt").exists() else "Nothing was kept to go on from."
    return Interrupted(f"Cannot write to {error.filename or folder}: {error.strerror or error}. {goes_on}")


def resolved(config: str | Path, changes: Mapping[str, Any] | None = None) -> str:
    """Every setting of a TOML file with its table [train], resolved, as TOML again."""
    from potentials.training.config import read_config

    try:
        return _toml(read_config(config, changes))
    except (ConfigError, OSError) as error:
        raise UserError(str(error)) from error


def _toml(settings: TrainConfig) -> str:
    """`mdapp train` on this text is the same training."""
    return "\n".join(_tables("train", to_mapping(settings))) + "\n"


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)


def _tables(name: str, values: Mapping[str, Any]) -> list[str]:
    lines = [f"[{name}]"]
    lines += [f"{key} = {toml_value(value)}" for key, value in values.items() if value is not None and not isinstance(value, Mapping)]
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += ["", *_tables(f"{name}.{key}", value)]
    return lines


def _close(summary: dict[str, Any], screen: Screen) -> None:
    rows = [("steps", f"{summary['steps']} ({summary['epochs']:.2f} epochs), {summary['skipped_batches']} batches left out")]
    words = [f"{name} {summary[key]:.4g} {unit}" for name, key, unit in (
        ("energy", "energy_mae_meV_atom", "meV/atom"), ("forces", "forces_mae_meV_A", "meV/Å")) if key in summary]  # fmt: skip
    if words:
        rows.append(("errors", f"{', '.join(words)} (MAE of {summary['frames']} validation frames)"))
        rows.append(("potential", summary["potential"]))
    screen.close(summary["verdict"], summary["why"], rows, f"mdapp run STRUCTURE --potential {summary['potential']}" if len(rows) > 1 else None)
