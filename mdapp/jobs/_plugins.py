"""Settings become plug-ins: the ensemble and the guards of a run."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mdapp.config import RunConfig, pairs
from mdapp.dynamics import ensembles
from mdapp.errors import UserError
from mdapp.monitors import monitors
from potentials.typed import ConfigError, from_mapping


def ensemble_of(config: RunConfig) -> Any:
    """The ensemble's record, filled with those settings that it has a field for.

    Raises
    ------
    UserError : an option that the ensemble does not have, or a value that it refuses.
    """
    kind = ensembles.get(config.method)
    offered = {
        "temperature_K": config.temperature, "pressure_bar": config.pressure, "friction_per_ps": config.friction,
        "thermostat_time_fs": config.thermostat_time, "barostat_time_fs": config.barostat_time, "flexible": config.flexible,
        "cell_mask": config.cell_mask,
    }
    fields = {f.name for f in dataclasses.fields(kind)}
    values = {name: value for name, value in offered.items() if name in fields and value is not None}
    for name, given in (("flexible", config.flexible), ("cell_mask", config.cell_mask)):
        if given and name not in fields:
            raise UserError(f"{name} is given, but {config.method} scales the cell as a whole. Leave it out, or use barostat langevin or mtk.")
    return _built(kind, {**values, **pairs(config.ensemble_option, "ensemble_option")}, f"ensemble {config.method}")


def guards_of(words: Sequence[str]) -> list[Any]:
    """The monitors that `--guard` asks for.

    `on` is all of them and `NAME` those alone; `NAME:key=value` sets one's thresholds (and the others stay on, as long as no bare name is given);
    `no-NAME` leaves one out. Whatever is asked for, non-finite numbers end a run; `off` leaves the loop with that check alone.
    """
    if "off" in words:
        if len(words) > 1:
            raise UserError(f"guard 'off' stands alone, got {', '.join(words)}.")
        return []
    left_out = {word[3:] for word in words if word.startswith("no-")}
    named = {word.partition(":")[0]: word.partition(":")[2] for word in words if word != "on" and not word.startswith("no-")}
    everything = "on" in words or all(named.values())
    names = [name for name in monitors.names() if (everything or name in named) and name not in left_out]
    return [_built(monitors.get(name), pairs(filter(None, named.get(name, "").split(",")), name), f"guard {name}") for name in names]


def _built(kind: Any, values: dict[str, Any], where: str) -> Any:
    try:
        return from_mapping(kind, values, where)
    except ConfigError as error:
        raise UserError(str(error)) from error
