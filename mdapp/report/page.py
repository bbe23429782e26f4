"""A report as one HTML file that needs nothing beside it: verdict first, key numbers, a 3D view, events, figures, settings, how to cite.

The 3D view is 3Dmol.js (N. Rego and D. Koes, Bioinformatics 31, 1322 (2015); BSD-3-Clause, its licence beside it in `vendor/`), carried within the page.
"""
from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path

from mdapp.report.scene import Scene

SHORT = 16  # letters of a label that stays in one line
_COLOURS = {"sound": "#00785a", "suspect": "#a86a00", "too short": "#a86a00", "broken": "#b23c00"}
_VIEWER_NOTE = "3D view: 3Dmol.js, N. Rego and D. Koes, Bioinformatics 31, 1322 (2015), BSD-3-Clause licence."


@dataclass(frozen=True)
class Picture:
    """A figure on disk and what it shows."""

    path: Path  # PNG
    caption: str
    wide: bool = False  # takes the whole width of the page


@dataclass(frozen=True)
class Event:
    """Something that happened to the run."""

    kind: str
    step: int
    time_ps: float
    message: str
    files: tuple[str, ...] = ()  # with the frames around it


@dataclass(frozen=True)
class Table:
    """A table of the page under its own heading."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """Figures that belong together, under the numbers that they show."""

    title: str
    pictures: tuple[Picture, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()  # label, value with error and unit


@dataclass(frozen=True)
class Page:
    """What a report says, in the order of the page."""

    title: str
    verdict: str
    sentence: str  # why the verdict is what it is
    rows: Sequence[tuple[str, str]] = ()  # label and value with error and unit
    reasons: Sequence[str] = ()  # why, one by one and from when on; in place of `sentence` where there are any
    tables: Sequence[Table] = ()
    remarks: Sequence[str] = ()  # what could not be made, and why, one sentence each
    scene: Scene | None = None  # frames for the 3D view; none is drawn when not given
    events: Sequence[Event] = ()  # in their order; each leads to the nearest frame of the scene
    sections: Sequence[Section] = ()
    settings: str = ""  # of the run, as text
    cite: Sequence[str] = ()  # works to name, one sentence each
    footer: str = ""


def html_report(page: Page) -> str:
    """The page as text; images, styles and scripts are inside it."""
    parts = [
        "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">', '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(page.title)}</title>", f"<style>\n{_text('page.css')}</style>", "</head>", "<body>", f"<h1>{escape(page.title)}</h1>",
        *_verdict(page.verdict, page.sentence, page.reasons), *_rows(page.rows)]
    for table in page.tables:
        parts += _table(table)
    if page.remarks:
        parts += ["<h2>Left out, and other remarks</h2>", "<ul>", *(f"<li>{escape(remark)}</li>" for remark in page.remarks), "</ul>"]
    if page.scene is not None:
        parts += _view(page.scene)
    if page.events:
        parts += _events(page.events, page.scene)
    for section in page.sections:
        parts += _section(section)
    if page.settings:
        parts += ["<h2>Settings</h2>", f"<details open><summary>run.toml</summary><pre>{escape(page.settings)}</pre></details>"]
    if page.cite:
        parts += ["<h2>How to cite</h2>", "<ul>", *(f"<li>{escape(work)}</li>" for work in page.cite), "</ul>"]
    parts += [f"<footer>{escape(page.footer)}{' ' + escape(_VIEWER_NOTE) if page.scene is not None else ''}</footer>"]
    if page.scene is not None:
        parts += [f'<script type="application/json" id="scene">{page.scene.to_json()}</script>', f"<script>{_text('vendor/3Dmol-min.js')}</script>",
                  f"<script>{_text('view.js')}</script>"]
    return "\n".join([*parts, "</body>", "</html>", ""])


def _rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    head = lambda label: f'<th class="short">{escape(label)}</th>' if len(label) <= SHORT else f"<th>{escape(label)}</th>"
    cells = (f"<tr>{head(label)}<td>{escape(value)}</td></tr>" for label, value in rows)
    return ['<div class="wide"><table class="numbers">', *cells, "</table></div>"] if rows else []


def _section(section: Section) -> list[str]:
    figures = ['<div class="figures">', *(_figure(picture) for picture in section.pictures), "</div>"] if section.pictures else []
    return [f"<h2>{escape(section.title)}</h2>", *_rows(section.rows), *figures] if figures or section.rows else []


def _verdict(word: str, sentence: str, reasons: Sequence[str]) -> list[str]:
    begin = f'<div class="verdict" style="border-color: {_COLOURS.get(word, "#666")}"><strong>{escape(word)}</strong>'
    if not reasons:
        return [f"{begin}: {escape(sentence)}</div>"]
    return [begin, "<ul>", *(f"<li>{escape(reason)}</li>" for reason in reasons), "</ul></div>"]


def _table(table: Table) -> list[str]:
    head = "".join(f"<th>{escape(word)}</th>" for word in table.head)
    body = ["<tr>" + "".join(f"<td>{escape(word)}</td>" for word in row) + "</tr>" for row in table.rows]
    note = [f'<p class="note">{escape(table.note)}</p>'] if table.note else []
    return [f"<h2>{escape(table.title)}</h2>", '<div class="wide"><table>', f"<thead><tr>{head}</tr></thead>", *body, "</table></div>", *note]


def _view(scene: Scene) -> list[str]:
    shown = len(scene.time_ps)
    one = "structures, the lowest first" if scene.labels else "frames"
    which = f"all {shown} {one}" if shown == scene.n_all else f"{shown} of {scene.n_all} {one}"
    controls = ['<div class="controls">', '<button id="play" type="button">Play</button>',
                f'<input id="frame" type="range" min="0" max="{max(shown - 1, 0)}" value="0" aria-label="frame">', '<output id="when"></output>', "</div>"]
    return [f"<h2>{'Minima' if scene.labels else 'Trajectory'}</h2>", '<div id="view" role="img" aria-label="the atoms of the trajectory in three dimensions"></div>', *controls,
            f'<p class="note">{which}, {len(scene.symbols)} atoms. Drag to turn, wheel or pinch to zoom.</p>']


def _events(events: Sequence[Event], scene: Scene | None) -> list[str]:
    rows = []
    for event in events:
        jump = "" if scene is None else f'<button type="button" data-frame="{scene.nearest(event.time_ps)}">show</button>'
        files = "".join(f"<br>{escape(name)}" for name in event.files)
        rows.append(f"<tr><td>{event.step}</td><td>{event.time_ps:.6g} ps</td><td>{escape(event.kind)}</td><td>{escape(event.message)}{files}</td><td>{jump}</td></tr>")
    return ["<h2>Events</h2>", '<div class="wide"><table class="events">', "<thead><tr><th>step</th><th>time</th><th>kind</th><th>what happened</th><th>frame</th></tr></thead>",
            *rows, "</table></div>"]


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
    caption = escape(picture.caption)
    wide = ' class="whole"' if picture.wide else ""
    return f'<figure{wide}><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'


@cache
def _text(name: str) -> str:
    """A part of every page, from beside this file."""
    return files("mdapp.report").joinpath(name).read_text(encoding="utf-8")
