"""A report as one HTML file that needs nothing beside it: verdict first, key numbers, figures, settings."""
from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

_COLOURS = {"sound": "#00785a", "suspect": "#a86a00", "broken": "#b23c00"}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.verdict { border-left: .4rem solid; padding: .4rem 1rem; background: #f6f6f6; font-size: 1.1rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid #e3e3e3; vertical-align: top; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; max-width: 100%; } img { max-width: 100%; width: 28rem; }
figcaption, footer { color: #666; font-size: .85rem; } pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: .85rem; }
"""


@dataclass(frozen=True)
class Picture:
    """A figure on disk and what it shows."""

    path: Path  # PNG
    caption: str


def html_report(title: str, verdict: str, sentence: str, rows: Sequence[tuple[str, str]], pictures: Sequence[Picture], remarks: Sequence[str],
                settings: str, footer: str) -> str:
    """The page as text; images are inside it.

    Parameters
    ----------
    rows : label and value with error and unit.
    remarks : what could not be made, and why, one sentence each.
    settings : the run's settings as text; left out where empty.
    """
    parts = [
        "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">', f"<title>{escape(title)}</title>", f"<style>{_STYLE}</style>", "</head>",
        "<body>", f"<h1>{escape(title)}</h1>",
        f'<p class="verdict" style="border-color: {_COLOURS.get(verdict, "#666")}"><strong>{escape(verdict)}</strong>: {escape(sentence)}</p>',
        "<table>", *(f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>" for label, value in rows), "</table>"]
    if remarks:
        parts += ["<ul>", *(f"<li>{escape(remark)}</li>" for remark in remarks), "</ul>"]
    for picture in pictures:
        data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
        caption = escape(picture.caption)
        parts.append(f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>')
    if settings:
        parts += ["<h2>Settings</h2>", f"<pre>{escape(settings)}</pre>"]
    parts += [f"<footer>{escape(footer)}</footer>", "</body>", "</html>", ""]
    return "\n".join(parts)
