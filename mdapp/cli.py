"""The command line: words become a typed configuration, the configuration goes to a job, its end becomes an exit code.

Options are drawn from the fields of `mdapp.config`, so a setting has one name, one default and one help text in the shell, in TOML and in Python.
torch, ase and matplotlib are imported by the jobs, never here: help and refusals answer at once.
"""
from __future__ import annotations

import importlib
import json
import math
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from mdapp import errors
from mdapp.config import DEVICE, AnalyseConfig, CheckConfig, DataReportConfig, EvaluateConfig, LibraryConfig, MinimaConfig, RelaxConfig, ResumeConfig, RunConfig
from mdapp.config.bench import BenchConfig
from mdapp.config.label import LabelConfig
from mdapp.errors import UserError
from mdapp.options import SCREEN_FLAGS, Verbs, Whole, flags, options_of, settle
from mdapp.record import Record
from mdapp.toml import to_toml


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, help="Show the version and exit.",
              callback=lambda ctx, param, asked: _show_version(ctx) if asked else None)
def cli() -> None:
    """Molecular dynamics with machine-learned potentials: trajectories that can be trusted.

    \b
    mdapp run peptide.xyz -p so3krates.pt       300 K, 0.5 fs, 10 ps
    mdapp resume runs/peptide-nvt-300K          goes on where it stopped
    mdapp analyse runs/peptide-nvt-300K         numbers and plots

    A value may carry its unit (0.5fs, 10ps, 1bar, 300K); bare numbers are fs, K, bar, Å; of real time (--wall-time, and --time of a search) seconds.
    Every option is a key of the same name in a TOML file given by --config; options beat the file.

    \b
    Exit codes: 0 finished; 1 internal error; 2 bad command or setting; 3 stopped cleanly before the end;
    4 stopped by a guard; 5 structure, potential or data unusable; 6 not converged.
    """


def _show_version(ctx: click.Context) -> None:
    from mdapp import version

    click.echo(f"mdapp {version()}")
    ctx.exit()


def add_verb(name: str, cls: type[Record], job: str, text: str, within: click.Group = cli) -> None:
    """A verb whose options are the fields of `cls` and whose work is the function `job` ("module.function" in mdapp.jobs).

    `within` a group, `data` say, the verb `report` is written `mdapp data report` and its table in TOML [data-report].
    """
    title = name if within is cli else f"{within.name}-{name}"

    def work(**given: Any) -> int:
        flag = {key: given.pop(key) for key in SCREEN_FLAGS}
        config = settle(cls, title, given, flag["config"], f"mdapp {title}" if within is cli else f"mdapp {within.name} {name}")
        if flag["dry_run"]:
            config = config.with_seed() if isinstance(config, (RunConfig, MinimaConfig)) else config
            click.echo(to_toml(config, title), nl=False)
            return errors.EXIT_FINISHED
        from mdapp.screen import Screen

        screen = Screen(quiet=flag["quiet"], verbose=flag["verbose"], to_stderr=flag["json"])
        result = _job(job)(config, screen)
        if flag["json"]:
            click.echo(_as_json(result.summary))
        return result.exit_code

    within.add_command(click.Command(name, callback=work, params=[*options_of(cls), *flags()], help=text, short_help=text.split("\n")[0].rstrip(".")))


def _as_json(summary: dict[str, Any]) -> str:
    """One line of JSON; numbers that are not finite become null, paths text."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(summary), allow_nan=False, default=str)


def _job(path: str) -> Callable[..., Any]:
    module, function = path.split(".")
    return getattr(importlib.import_module(f"mdapp.jobs.{module}"), function)


add_verb("run", RunConfig, "run.run", """Run a trajectory.

    With nothing but a structure and a potential: 300 K, Langevin thermostat, 0.5 fs, 10 ps. The run's folder holds trajectory.h5 (mdtraj opens it),
    thermo.csv, checkpoints and summary.json. A signal or a file STOP in the folder ends it at a whole step; `mdapp resume` goes on.""")
add_verb("resume", ResumeConfig, "resume.resume", """Go on where a run stopped.

    To the same bits as if it had not stopped (CPU). --steps and --time are always totals, so a finished run is extended by asking for more.""")
add_verb("check", CheckConfig, "check.check", """Check a start: every check of a run and a short probe; nothing is kept.""")
add_verb("bench", BenchConfig, "bench.bench", """Measure what a step of a run costs, and where the time goes; nothing is kept.

    Takes what `mdapp run` takes. With --compile plain and compiled code are measured in turns. At the end copies of the structure are evaluated together:
    what batches are worth on this machine.""")
add_verb("relax", RelaxConfig, "relax.relax", """Relax structures to their nearest minimum.""")
add_verb("library", LibraryConfig, "library.library", """Look into a library of minima: which ones, where, and out of it as XYZ or PDB.

    \b
    mdapp library RUN                                             the lowest minima
    mdapp library RUN --below 5kcal/mol --region C7eq             which of them have a residue there
    mdapp library RUN --lowest 10 --export lowest.pdb             structures for other programs

    It may be asked while a search is adding to it.""")
add_verb("minima", MinimaConfig, "minima.minima", """Search for minima: explore the energy surface, build a library of minima.

    Many walkers hop from minimum to minimum, evaluated in one batch, and share one library. The folder holds minima.h5, lowest.extxyz, hops.jsonl and
    summary.json. A signal or a file STOP in the folder ends it; `mdapp resume` goes on; --hops or --minima there make it longer, in place of the limits before.""")
add_verb("analyse", AnalyseConfig, "analyse.analyse", """Analyse trajectories and libraries of minima: numbers and plots. Also spelled analyze.""")
add_verb("evaluate", EvaluateConfig, "evaluate.evaluate", """Evaluate a potential: its errors on labelled data.""")

add_verb("label", LabelConfig, "label.label", """Label structures: reference energies and forces from any ASE calculator.

    \b
    mdapp label confs.xyz --calculator tblite:GFN2-xTB --output labelled.xyz
    mdapp label 'confs/*.xyz' --calculator ase:my_package:MyCalculator --workers 8

    The output is extended XYZ that `mdapp train` and `mdapp evaluate` read. A structure that fails does not cost the others; a job that was killed goes
    on with --resume.""")


@cli.group("data", cls=Verbs, short_help="Look at labelled data before they are learned")
def data() -> None:
    """Look at labelled data before they are learned.

    \b
    mdapp data report train.xyz                               what is there, and what is suspected
    mdapp data report train.xyz --validation test.xyz         copies across the split too
    """


add_verb("report", DataReportConfig, "data.report", """Report on labelled data: what is there, and which frames are suspected of what.

    Copies (turned and reordered ones too), atoms too close, absurd forces, energies off the fit by element, mixed levels of theory, wrong units and
    signs. The folder holds report.png, report.svg, rejected.csv and report.json; the data stay as they are.""", within=data)


_TRAIN = {  # keys of [train] that the command line may change; their meaning stands in the file's documentation
    "output": (click.STRING, "Folder of the training.", "FOLDER"), "epochs": (Whole(), "End after so many passes over the data.", None),
    "max-steps": (Whole(), "End after so many steps.", None), "max-hours": (click.FLOAT, "End after so many hours.", "H"),
    "batch-size": (Whole(), "Structures in a batch.", None), "seed": (Whole(), "Seed of weights and order.", None),
    "device": (click.STRING, DEVICE, None), "dtype": (click.STRING, "float32 or float64.", None), "threads": (Whole(), "CPU threads.", None),
}  # fmt: skip


def _from_file(verb: str, what: str) -> Callable[..., int]:
    """The work of a verb that is described by a TOML file: jobs.<verb>.<verb>, and jobs.<verb>.resolved for --dry-run."""

    def work(config: str | None, resume: bool, dry_run: bool, json: bool, quiet: bool, verbose: bool, traceback: bool, **changes: Any) -> int:
        if config is None:
            raise UserError(f"mdapp {verb}: name the TOML file that describes the {what}.")
        given = {key: value for key, value in changes.items() if value is not None}
        if dry_run:
            click.echo(_job(f"{verb}.resolved")(config, given), nl=False)
            return errors.EXIT_FINISHED
        from mdapp.screen import Screen

        result = _job(f"{verb}.{verb}")(config, Screen(quiet=quiet, verbose=verbose, to_stderr=json), resume=resume, changes=given)
        if json and os.environ.get("RANK", "0") == "0":  # of the processes that torchrun started, the first one speaks
            click.echo(_as_json(result.summary))
        if verb == "train":
            from potentials.training.distributed import leave

            leave(result.exit_code)
        return result.exit_code

    return work


cli.add_command(click.Command("train", callback=_from_file("train", "training"), short_help="Train a potential on labelled structures", params=[
    click.Argument(["config"], required=False, metavar="CONFIG.toml"),
    click.Option(["--resume"], is_flag=True, help="Go on from last.pt in the output folder."),
    *(click.Option([f"--{name}", *(["-o"] if name == "output" else [])], type=kind, default=None, help=text, metavar=metavar) for name, (kind, text, metavar) in _TRAIN.items()),
    click.Option(["--compile/--no-compile"], default=None, help="Compile the training step (minutes, then pays)."),
    *(flag for flag in flags() if flag.name != "config"),
], help="""Train a potential on labelled structures.

    The file has a table [train]: data, architecture, loss, optimiser. best.pt in the output folder is ready for `mdapp run`; a signal or a file STOP ends
    the training with a state from which --resume goes on."""))  # fmt: skip


cli.add_command(click.Command("learn", callback=_from_file("learn", "loop"), short_help="Train a committee that asks for its labels", params=[
    click.Argument(["config"], required=False, metavar="CONFIG.toml"),
    click.Option(["--resume"], is_flag=True, help="Go on with the loop in the output folder."),
    click.Option(["--output", "-o"], default=None, help="Folder of the loop.", metavar="FOLDER"),
    click.Option(["--rounds"], type=Whole(), default=None, help="End after so many rounds."),
    click.Option(["--workers"], type=Whole(), default=None, help="Processes that label."),
    click.Option(["--seed"], type=Whole(), default=None, help="Seed of everything that is drawn."),
    click.Option(["--device"], default=None, help=DEVICE), click.Option(["--threads"], type=Whole(), default=None, help="CPU threads."),
    *(flag for flag in flags() if flag.name != "config"),
], help="""Train a committee that asks for its labels: explore, choose, label, train, until nothing new is found.

    The file has a table [learn]: structures to begin with, the calculator that labels, how to explore, and a training in [learn.train]. Every round is on
    the disk; a signal or a file STOP in the folder ends the loop, and --resume goes on."""))  # fmt: skip


@cli.command("potentials", short_help="List potentials, show the card of one, import or export one")
@click.argument("name", required=False)
@click.argument("more", nargs=-1)
@click.option("-o", "--output", metavar="PATH", help="With import and domain: the file to write; with export: the folder. FORMAT.pt or FILE-FORMAT if not given (domain: needed).")
@click.option("--format", "kind", metavar="FORMAT", help="With export: the format, for example n2p2.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.option("--traceback", is_flag=True, help="Show the whole traceback of an error.")
def potentials(name: str | None, more: tuple[str, ...], output: str | None, kind: str | None, as_json: bool, traceback: bool) -> int:
    """List potentials, show the card of one, import published weights, write one for another program, or keep its training domain.

    \b
    mdapp potentials                                          what is installed or shipped
    mdapp potentials so3krates.pt                             elements, units, level of theory, errors
    mdapp potentials import so3lr params.pkl -o so3lr.pt      published parameters as a potential file
    mdapp potentials export li.pt --format n2p2 -o li-n2p2    files of another program
    mdapp potentials domain li.pt data/*.h5 -o known.pt       with what it was trained on, so that runs say what it never saw

    A file to import is read without running anything in it, and refused where that is not possible.
    """
    if name == "export":
        return _job("potentials.send")(more, kind, output, as_json=as_json)
    if kind is not None:
        raise UserError(f"format = '{kind}' is for `mdapp potentials export`.")
    if name == "domain":
        return _job("domain.keep_domain")(more, output, as_json=as_json)
    if name == "import":
        return _job("potentials.bring")(more, output, as_json=as_json)
    if output is not None:
        raise UserError(f"output = '{output}' is for `mdapp potentials import`, `export` and `domain`; a card is printed, not written.")
    if more:
        raise UserError(f"mdapp potentials takes one name, got {1 + len(more)}: {' '.join([name or '', *more])}.")
    return _job("potentials.show")(name, as_json=as_json)


def main(argv: list[str] | None = None) -> int:
    """Run one verb; return its exit code. Errors of the user are one or two sentences on stderr."""
    args = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Å shows '?', and the run goes on
    try:
        return cli.main(args=args, prog_name="mdapp", standalone_mode=False) or errors.EXIT_FINISHED
    except click.exceptions.NoArgsIsHelpError as error:  # `mdapp` or `mdapp data` alone: the help itself is the answer
        print(error.format_message(), file=sys.stderr)
        return errors.EXIT_USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "mdapp"
        return _refuse(args, f"{path}: {_sentence_of(error)} Try '{path} --help'.", errors.EXIT_USAGE)
    except click.ClickException as error:
        return _refuse(args, f"mdapp: {error.format_message()}", errors.EXIT_USAGE)
    except UserError as error:
        return _refuse(args, str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        print("Interrupted.", file=sys.stderr)
        return 130  # as a shell says it of a signal
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of stdout went away; do not complain again at exit
        return errors.EXIT_FINISHED
    except Exception as error:
        where = getattr(error, "run_log", None)
        hint = f"The traceback is in {where}." if where else "Give --traceback to see where."
        return _refuse(args, f"mdapp: internal error, {type(error).__name__}: {str(error).rstrip('.')}. {hint}", errors.EXIT_INTERNAL)


def _refuse(args: list[str], message: str, exit_code: int) -> int:
    """Say what is wrong on stderr, and on stdout too when a machine reads it."""
    if "--traceback" in args:
        traceback.print_exc()
    print(errors.harmless(message), file=sys.stderr)
    if "--json" in args:
        print(json.dumps({"verdict": "refused" if exit_code != errors.EXIT_INTERNAL else "failed", "error": message, "exit_code": exit_code}))
    return exit_code


def _sentence_of(error: click.UsageError) -> str:
    message = error.format_message().strip()
    return message if message.endswith((".", "?", "!", ")")) else message + "."


if __name__ == "__main__":
    sys.exit(main())
