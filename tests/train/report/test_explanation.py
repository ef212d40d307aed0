import base64
import io
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from promptfuse.errors import RunError
from promptfuse.train.explain.explanation import (
    ExplainedMethod,
    Explanation,
    Pictured,
    example_folder,
    explained_examples,
    read_explanation,
)
from promptfuse.train.report.explanation_page import (
    ShownExplanation,
    colour_map,
    draw_explanation,
    explanation_page,
    page_colours,
    read_shown,
    write_explanation,
)
from promptfuse.train.report.pages import Picture

from .browser import browsed_by
from .test_page import EVIL, Seen

NONE = Picture("data:,", 1, 1)


def method(name="promptfuse", **changes):
    values = {
        "method": name,
        "run": None if name == "noprompt" else f"0001-{name}",
        "answer": "red",
        "first_token": "red",
        "output": 1.0,
        "baseline_output": -1.0,
        "delta": 0.002,
        "steps": 50,
        "tokens": [("what", -0.25), ("colour", 0.5), ("?", 0.0)],
        "media": {"image": 1.75},
    }
    return ExplainedMethod(**(values | changes))


def explanation(**changes):
    values = {
        "dataset": "shapes",
        "split": "val",
        "example": "7",
        "text": "what colour?",
        "truth": "red",
        "baseline": "black",
        "methods": [method("noprompt"), method()],
    }
    return Explanation(**(values | changes))


def pictured(methods=("noprompt", "promptfuse"), frames=3):
    random = np.random.default_rng(0)
    media = {
        "image": random.integers(0, 255, (20, 20, 3), dtype=np.uint8),
        "video": random.integers(0, 255, (frames, 12, 12, 3), dtype=np.uint8),
        "audio": random.normal(size=900).astype(np.float32),
    }
    maps = {"image": (20, 20), "video": (frames, 12, 12), "audio": (900,)}
    drawn = {
        shown: {name: random.normal(size=shape) for name, shape in maps.items()}
        for shown in methods
    }
    return Pictured(media, drawn, 1600)


def pixels_of(png):
    return np.asarray(PIL.Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_what_is_written_is_read_again(tmp_path):
    written = explanation()
    folder = example_folder(tmp_path / "0001-a", written.example)
    write_explanation(folder, written, pictured())
    assert read_explanation(folder) == written
    shown = read_shown(folder)
    size = pixels_of((folder / "explanation.png").read_bytes()).shape
    assert (shown.light.height, shown.light.width) == size[:2]
    assert (shown.dark.height, shown.dark.width) == size[:2]
    assert explained_examples([tmp_path / "0001-a", tmp_path / "0002-b"]) == [folder]
    assert {path.name for path in folder.iterdir()} == {
        "attribution.json", "attribution.safetensors",
        "explanation.png", "explanation-dark.png", "explanation.html",
    }  # fmt: skip


def test_no_id_leads_out_of_the_runs_folder(tmp_path):
    for name in ("..", ".", "../../x", "a/b", "/etc/passwd", "a\\b", "é\n", "a%2fb", ""):
        folder = example_folder(tmp_path, name)
        assert folder.parent == tmp_path / "explain", name
        assert folder.name not in (".", "..", ""), name
    assert example_folder(tmp_path, "a/b") != example_folder(tmp_path, "a%2fb")
    assert example_folder(tmp_path, "1_60").name == "1_60"


@pytest.mark.parametrize("content", ["{", "[]", '{"methods": [{"tokens": [1]}]}', '{"split": "x"}'])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "attribution.json").write_text(content)
    with pytest.raises(RunError, match=r"attribution\.json is no explanation .*pfcli explain"):
        read_explanation(tmp_path)


def test_completeness_is_judged_against_the_change():
    assert method().relative_delta == pytest.approx(0.001)
    assert method().converged
    assert not method(delta=0.02).converged
    assert not method(output=-1.0).converged


def test_the_page_holds_words_in_their_colours_and_fetches_nothing():
    hostile = explanation(
        text=EVIL, example=EVIL, methods=[method(tokens=[(EVIL, 1.0), ("b", -0.5)], delta=0.5)]
    )
    page = explanation_page(ShownExplanation(hostile, NONE, NONE))
    seen = Seen(page)
    assert "script" not in seen.tags
    assert seen.tags.count("img") == 1
    styles = [value for name, value in seen.attributes if name == "style"]
    assert styles == ["--share: 100%", "--share: 50%"]
    words = [value for name, value in seen.attributes if name == "class" and "word " in value]
    assert words == ["word raises strong", "word lowers"]
    links = [value for name, value in seen.attributes if name in ("src", "srcset", "href")]
    assert all(link.startswith("data:") for link in links)
    assert "promptfuse: the attributions miss the change in log-odds by 25.0 % after 50" in page
    assert "miss the change" not in explanation_page(ShownExplanation(explanation(), NONE, NONE))


def test_maps_have_the_pages_colours():
    light, dark = page_colours(dark=False), page_colours(dark=True)
    assert (light["card"], light["raises"], dark["card"]) == ("#ffffff", "#b2182b", "#1b1f27")
    colours = colour_map(light)
    blue, nothing, red = colours([0.0, 0.5, 1.0], bytes=True)[:, :3].tolist()
    assert (blue, nothing, red) == ([33, 102, 172], [255, 255, 255], [178, 24, 43])
    # half-way to blue: (255 + 33) / 2 and so on
    assert colours(0.25, bytes=True)[:3] == pytest.approx((144, 178, 214), abs=1)


def test_the_dark_picture_stands_on_the_pages_dark_card():
    light, dark = (
        pixels_of(draw_explanation(explanation(), pictured(), dark=dark)) for dark in (False, True)
    )
    assert light.shape == dark.shape
    assert tuple(light[2, 2]) == (255, 255, 255)
    assert tuple(dark[2, 2]) == (27, 31, 39)  # --card of page.css in the dark: #1b1f27
    assert dark.mean() < 90 < 200 < light.mean()


def test_the_picture_has_a_row_a_method_and_shows_the_image():
    single, three = (
        draw_explanation(explanation(methods=[method(name) for name in names]), pictured(names))
        for names in (["promptfuse"], ["noprompt", "promptfuse", "blindprompt"])
    )
    assert len(pixels_of(three)) - len(pixels_of(single)) > 1.9 * len(pixels_of(single)) - 300
    assert pixels_of(single).shape[1] == pixels_of(three).shape[1]


def test_positive_is_red_and_negative_blue():
    for sign, colour, other in ((1, 0, 2), (-1, 2, 0)):
        media = {"image": np.full((8, 8, 3), 128, np.uint8)}
        maps = {"promptfuse": {"image": np.full((8, 8), sign * 0.3)}}
        drawn = draw_explanation(
            explanation(methods=[method(tokens=[])]), Pictured(media, maps, None)
        )
        pixels = pixels_of(drawn)
        strong = np.abs(pixels[..., 0] - pixels[..., 2]) > 60
        here = pixels[strong]  # the map, and a part of the legend
        assert (here[:, colour] > here[:, other]).mean() > 0.8
        assert strong.mean() > 0.05


def test_texts_are_drawn_as_they_are_and_empty_maps_too():
    silent = {
        "promptfuse": {
            name: np.zeros_like(values) for name, values in pictured().maps["promptfuse"].items()
        }
    }
    shown = Pictured(pictured(frames=11).media, silent | {"promptfuse": silent["promptfuse"]}, 1600)
    maps = {"promptfuse": dict(silent["promptfuse"], video=np.zeros((11, 12, 12)))}
    words = [("$x^{", 0.0), ("_" * 60, 0.0)] * 30
    drawn = draw_explanation(
        explanation(text="$\\frac{1}$ \n" * 40, truth=None, methods=[method(tokens=words)]),
        Pictured(shown.media, maps, 1600),
    )
    assert drawn.startswith(b"\x89PNG")


def test_drawing_opens_no_figure_of_pyplots():
    code = (
        "from promptfuse.train.report import explanation_page\n"
        "from matplotlib.backends import backend_agg\n"
        "import sys; print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    draw_explanation(explanation(), pictured())
    pyplot = sys.modules.get("matplotlib.pyplot")  # captum's import
    assert pyplot is None or pyplot.get_fignums() == []


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_the_picture_of_its_scheme_and_the_words(tmp_path, dark):
    folder = tmp_path / "example"
    write_explanation(folder, explanation(), pictured())
    script = (
        "addEventListener('load', () => {const image = document.querySelector('img.explained');"
        "document.title = `${image.naturalWidth} ${image.currentSrc.slice(-60)}`; });"
    )
    shown = browsed_by((folder / "explanation.html").read_text(), tmp_path, script, dark=dark)
    name = "explanation-dark.png" if dark else "explanation.png"
    content = (folder / name).read_bytes()
    end = base64.b64encode(content).decode()[-60:]
    assert f"<title>{pixels_of(content).shape[1]} {end}</title>" in shown
    assert shown.count('class="word ') == 6
