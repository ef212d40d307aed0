"""Pages looked at with headless Chromium; each test of them has the mark `browser`."""

import re
import shutil
import subprocess

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr",
)  # fmt: skip

# A window is never narrower than 500 pixels: a narrow page is looked at in a frame.
_FRAME = """<!doctype html><html style="color-scheme: light dark"><title></title>
<style>body {{ margin: 0 }}</style>
<script>addEventListener('message', (event) => {{ document.title = event.data; }});</script>
<iframe src="page.html" width="{width}" height="{height}"
style="border: 0; display: block"></iframe></html>"""


def browsed_by(page, tmp_path, script="", *, width=1280, dark=False):
    """Return a page's elements after its scripts and one more have run."""
    file = _written(page, tmp_path, script)
    return _run(file, tmp_path, "--dump-dom", width=width, dark=dark)


def title_of(page, tmp_path, script, *, width=1280, dark=False):
    """Return what a script says with `postMessage` to the frame of this width."""
    _written(page, tmp_path, script)
    frame = tmp_path / "frame.html"
    frame.write_text(_FRAME.format(width=width, height=1000))
    elements = _run(frame, tmp_path, "--dump-dom", width=max(width, 500), dark=dark)
    return re.search(r"<title>(.*?)</title>", elements)[1]


def drawn_by(page, tmp_path, picture, *, width=1280, height=1000, dark=False):
    """Write a picture of the page, `width` and `height` pixels of it at least."""
    _written(page, tmp_path, "")
    frame = tmp_path / "frame.html"
    frame.write_text(_FRAME.format(width=width, height=height))
    _run(frame, tmp_path, f"--screenshot={picture}", width=width, dark=dark, height=height)


def _written(page, tmp_path, script):
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", f"<script>{script}</script></body>"))
    return file


def _run(file, tmp_path, wanted, *, width, dark, height=1000):
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    size = f"--window-size={width},{height}"
    command = [CHROMIUM, *_QUIET, scheme, size, profile, wanted, file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout
