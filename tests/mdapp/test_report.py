"""The page stands alone, and what users named cannot break out of it."""
from __future__ import annotations

from html.parser import HTMLParser

from mdapp.report import Picture, html_report


def test_everything_is_inside_and_escaped(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG pretend")
    page = html_report("<script>x</script>", "sound", "a < b & c", [("T", "300 ± 5 K")], [Picture(tmp_path / "a.png", 'say "hi"')], ["No cell."], "[run]", "made")
    seen: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append(tag)
            assert all(not (value or "").startswith(("http", "//", "file")) for _, value in attrs)

    Reader().feed(page)
    assert "script" not in seen and seen.count("img") == 1 and "a &lt; b &amp; c" in page and "300 ± 5 K" in page


def test_the_verdict_comes_first():
    page = html_report("run", "broken", "why", [("T", "1")], [], [], "", "made")
    assert page.index("broken") < page.index("<table>") and "<pre>" not in page
