import io

import pytest

from mdapp.screen import Progress, Screen, progress_line, shown_duration


def progress(step, steps=1000):
    return Progress(step=step, steps=steps, time_ps=step * 5e-4, temperature_K=301.2, drift_meV=0.021, guards="ok", ms_per_step=8.1, ns_per_day=5.33, eta_s=65)


def test_without_a_terminal_there_are_plain_lines_and_no_control_characters():
    stream = io.StringIO()
    screen = Screen(stream=stream)
    screen.header("run", [("structure", "42 atoms")])
    for step in range(0, 1001):
        screen.progress(progress(step))
    screen.close("sound", "finished as asked", [("speed", "5 ns/day")], "mdapp analyse x")
    text = stream.getvalue()
    assert all(c == "\n" or c >= " " for c in text)
    assert 1 <= text.count("ns/day  ") <= 11 and "1000/1000" in text and "mdapp analyse x" in text


def test_quiet_shows_warnings_only(capsys):
    screen = Screen(quiet=True)
    screen.header("run", [("a", "b")])
    screen.say("news")
    screen.progress(progress(1000))
    screen.close("sound", "why", [])
    screen.warn("look")
    said = capsys.readouterr()
    assert said.out == "" and said.err == "warning: look\n"


def test_a_reader_that_goes_away_silences_the_screen():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    screen = Screen(stream=Gone())
    screen.say("hello")
    assert screen.quiet


def test_the_live_line_on_a_terminal_is_redrawn_in_place(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    screen = Screen(stream=stream)
    screen.progress(progress(999))
    screen.progress(progress(1000))
    screen.close("stopped", "a guard", [])
    assert "\x1b[" in stream.getvalue() and "1000/1000" in stream.getvalue() and "stopped: a guard" in stream.getvalue()


def test_the_line_names_its_units():
    assert progress_line(progress(500)) == " 500/1000  0.250 ps  T 301 K  drift +0.021 meV/atom/ps  guards ok  8.1 ms/step  5.33 ns/day  1:05 left"


def test_a_narrow_terminal_still_shows_speed_and_end():
    for width in (120, 90, 80, 70):
        line = progress_line(progress(500), width)
        assert len(line) < width and "5.33 ns/day" in line and "1:05 left" in line and "guards ok" in line


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (7.4, "0:07"), (3900, "1:05:00"), (200_000, "2 d 07:33:20")])
def test_durations_read_like_a_clock(seconds, text):
    assert shown_duration(seconds) == text
