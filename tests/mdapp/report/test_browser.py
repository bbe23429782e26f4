"""The page in a real browser: opens from the disk without network, without console errors, and the view draws (pytest -m browser)."""
from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest

from mdapp.report import Page, Scene, html_report

CHROMIUM = os.environ.get("CHROMIUM") or next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; name one in the variable CHROMIUM")
def test_the_page_opens_offline_and_the_view_draws(tmp_path):
    from PIL import Image

    positions = np.array([[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]] * 2, dtype=float)
    scene = Scene(("O", "H", "H"), np.array([[0, 1], [0, 2]]), np.array([0.0, 0.5]), positions, None, 2)
    (tmp_path / "report.html").write_text(html_report(Page("water", "sound", "all in order.", scene=scene)), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader", "--enable-logging=stderr", "--virtual-time-budget=9000",
               "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path}/profile", "--window-size=600,700"]
    address = (tmp_path / "report.html").as_uri()
    dom = subprocess.run([CHROMIUM, *options, "--dump-dom", address], capture_output=True, text=True, timeout=600)
    assert 'data-drawn="yes"' in dom.stdout
    errors = [line for line in dom.stderr.splitlines() if "CONSOLE" in line and "GL Driver Message" not in line]
    assert not errors, errors
    subprocess.run([CHROMIUM, *options, f"--screenshot={tmp_path}/page.png", address], capture_output=True, timeout=600)
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90)
    assert red.sum() > 200  # the oxygen
