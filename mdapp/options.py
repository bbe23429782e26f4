"""Options of the command line, drawn from the fields of a record, and the words that they take.

torch, ase and matplotlib are never imported here: help and refusals answer at once.
"""
from __future__ import annotations

import dataclasses
import typing
from typing import Any

import click

from mdapp.record import Record, nearest
from mdapp.toml import fill, read_settings

SCREEN_FLAGS = ("config", "dry_run", "json", "quiet", "verbose", "traceback")


class Verbs(click.Group):
    """The verbs, with the nearest one named where a word is unknown."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, {"analyze": "analyse"}.get(name, name))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            shown = [n for n, command in self.commands.items() if not command.hidden]
            raise click.UsageError(f"no verb '{name}'{nearest(name, [*self.commands, 'analyze'])}; known: {', '.join(shown)}.", ctx=ctx)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class Whole(click.ParamType):
    """A whole number, also as 1e6 or 10_000."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            number = float(value)
            if number.is_integer():
                return int(value) if value.lstrip("+-").replace("_", "").isdigit() else int(number)
        except (ValueError, OverflowError):
            pass
        raise click.UsageError(f"{param.opts[0] if param else 'value'}: '{value}' is not a whole number.", ctx=ctx)


class Number(click.ParamType):
    """A number without a unit."""

    name = "X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(value)
        except ValueError:
            raise click.UsageError(f"{param.opts[0] if param else 'value'}: '{value}' is not a number.", ctx=ctx) from None


def options_of(cls: type[Record]) -> list[click.Parameter]:
    """The positional arguments and options that fill a record."""
    hints = typing.get_type_hints(cls)
    params: list[click.Parameter] = []
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        several = str(f.type).startswith("tuple")
        if f.default is dataclasses.MISSING and f.name != "potential":
            params.append(click.Argument([f.name], required=False, nargs=-1 if several else 1, metavar=f.name.upper() + ("..." if several else "")))
            continue
        hint, unit, text = hints[f.name], f.metadata["unit"], f.metadata["help"]
        words = f"--{f.name.replace('_', '-')}"
        names = [f.name, *([f"-{f.metadata['short']}"] if f.metadata["short"] else [])]
        if hint is bool:
            params.append(click.Option([*names, f"{words}/--no-{words[2:]}"], default=None, help=f"{text}  [{'yes' if f.default else 'no'}]"))
            continue
        if f.default not in (dataclasses.MISSING, None):
            shown = ", ".join(f.default) if isinstance(f.default, tuple) else f"{f.default:g}" if isinstance(f.default, float) else f.default
            text = f"{text}  [{shown}{' ' + unit if unit else ''}]"
        bare = unit is None and not f.metadata["duration"]
        kind = Whole() if hint in (int, int | None) and bare else Number() if hint in (float, float | None) and bare else click.STRING
        params.append(click.Option([*names, words], type=kind, multiple=several, default=None, help=text, metavar=f.metadata["metavar"] or unit))
    return params


def flags() -> list[click.Parameter]:
    """Options of how a verb is asked and shown, the same for all."""
    return [
        click.Option(["--config"], metavar="FILE.toml", help="Read settings from here; options beat it."),
        click.Option(["--dry-run"], is_flag=True, help="Print the whole resolved TOML and stop."),
        click.Option(["--json"], is_flag=True, help="Print a summary as JSON on stdout, and nothing else there."),
        click.Option(["-q", "--quiet"], is_flag=True, help="Show nothing but warnings and errors."),
        click.Option(["-v", "--verbose"], is_flag=True, help="Show more."),
        click.Option(["--traceback"], is_flag=True, help="Show the whole traceback of an error."),
    ]


def settle(cls: type[Record], verb: str, given: dict[str, Any], path: str | None, where: str = "") -> Record:
    """The configuration from a file and the command line; the command line wins, also over what excludes its choice."""
    given = {key: value for key, value in given.items() if value is not None and value != ()}
    stored = read_settings(path, verb) if path else {}
    if "steps" in given or "time" in given:
        stored = {key: value for key, value in stored.items() if key not in ("steps", "time")}
    if "ensemble" in given and given["ensemble"] != stored.get("ensemble", given["ensemble"]):
        stored = {key: value for key, value in stored.items() if key not in ("thermostat", "barostat", "pressure")}
    return fill(cls, {**stored, **given}, f"{path}, [{verb}]" if path and not given else where or f"mdapp {verb}")
