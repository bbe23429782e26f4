"""The page stands alone, and what users named cannot break out of it."""
from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from mdapp.report import Event, Page, Picture, Scene, Section, Table, Thinned, html_report


def test_everything_is_inside_and_escaped(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG pretend")
    page = html_report(Page("<script>x</script>", "sound", "a < b & c", [("T", "300 ± 5 K")], remarks=["No cell."], settings="[run]", footer="made",
                            sections=[Section("<i>Shape", (Picture(tmp_path / "a.png", 'say "hi"'),), (("<b>Rg", "2 ± 1 Å"),)), Section("Empty")]))
    seen: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append(tag)
            assert all(not (value or "").startswith(("http", "//", "file")) for _, value in attrs)

    Reader().feed(page)
    assert "script" not in seen and seen.count("img") == 1 and "a &lt; b &amp; c" in page and "300 ± 5 K" in page
    assert "b" not in seen and "i" not in seen and "2 ± 1 Å" in page and "Empty" not in page


def test_the_verdict_comes_first():
    page = html_report(Page("run", "broken", "why", [("T", "1")]))
    assert page.index("<strong>broken") < page.index("<table") and "<pre>" not in page


def scene(n: int = 3) -> Scene:
    rng = np.random.default_rng(0)
    return Scene(("O", "H", "H"), np.array([[0, 1], [0, 2]]), np.arange(n) * 0.5, rng.uniform(-200, 200, (n, 3, 3)), None, n)


def test_the_scene_keeps_positions_to_a_hundredth_of_an_angstrom():
    given = scene()
    data = json.loads(given.to_json())
    words = np.frombuffer(base64.b64decode(data["positions"]), "<i2").reshape(3, 3, 3) * data["step_A"]
    assert words == pytest.approx(given.positions - given.positions[0].mean(axis=0), abs=0.0051)
    assert data["bonds"] == [[0, 1], [0, 2]] and data["time_ps"] == [0, 0.5, 1]


@pytest.mark.parametrize("n", [1, 2, 9, 10, 11, 57, 1000])
def test_thinning_keeps_the_first_and_the_last_and_an_even_spread(n):
    thinned = Thinned(2, most_frames=10)
    for k in range(0, n, 7):
        times = np.arange(k, min(k + 7, n))
        thinned.add(times, np.broadcast_to(times[:, None, None], (len(times), 2, 3)))
    times, positions = thinned.frames()
    assert times[0] == 0 and times[-1] == n - 1 and len(times) <= 11 and len(times) >= min(n, 5)
    assert len(set(np.diff(times)[:-1])) <= 1 and (positions[:, 0, 0] == times).all()


def test_a_page_with_a_view_carries_it_and_calls_nobody():
    page = html_report(Page("run", "broken", "x", reasons=["a guard, from step 7"], scene=scene(), cite=["Somebody (2024)"],
                            events=[Event("guard", 7, 0.6, "</script><b>off", ("event-7.extxyz",))], tables=[Table("All", ("a",), (("<i>",),))]))
    assert "$3Dmol.createViewer" in page and 'data-frame="1"' in page and "a guard, from step 7" in page and "event-7.extxyz" in page
    assert "<b>off" not in page and "<i>" not in page and "3Dmol.js, N. Rego" in page and page.count("</script>") == 3
    assert not re.search(r'<(script|link|img|iframe)[^>]+(src|href)="(?!data:)', page)
