import io
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from promptfuse.errors import RunError
from promptfuse.train.report.explanation import (
    ExplainedMethod,
    Explanation,
    Pictured,
    example_folder,
    explained_examples,
    read_explanation,
    write_explanation,
)
from promptfuse.train.report.explanation_page import (
    explanation_page,
    word_colour,
)
from promptfuse.train.report.heatmaps import draw_explanation

from .test_page import BROWSER, EVIL, Seen, browsed_by


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
        one: {name: random.normal(size=shape) for name, shape in maps.items()} for one in methods
    }
    return Pictured(media, drawn, 1600)


def pixels_of(png):
    return np.asarray(PIL.Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_what_is_written_is_read_again(tmp_path):
    found = explanation()
    folder = example_folder(tmp_path / "0001-a", found.example)
    write_explanation(folder, found, pictured(), b"png", "page")
    assert read_explanation(folder) == found
    assert explained_examples([tmp_path / "0001-a", tmp_path / "0002-b"]) == [folder]
    assert {path.name for path in folder.iterdir()} == {
        "attribution.json", "attribution.safetensors", "explanation.png", "explanation.html"
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
    page = explanation_page(hostile, b"\x89PNG")
    seen = Seen(page)
    assert "script" not in seen.tags
    assert seen.tags.count("img") == 1
    styles = [value for name, value in seen.attributes if name == "style"]
    assert styles[0].startswith("background: rgb(178,24,43)")  # the largest is wholly red
    assert styles[1].startswith("background: rgb(144,178,214)")  # half of it, and negative
    links = [value for name, value in seen.attributes if name in ("src", "href")]
    assert all(link.startswith("data:") for link in links)
    assert "promptfuse: the attributions miss the change in log-odds by 25.0 % after 50" in page
    assert "miss the change" not in explanation_page(explanation(), b"")


def test_colours_of_words():
    assert word_colour(0.0) == (255, 255, 255)
    assert word_colour(1.0)[0] > word_colour(1.0)[2]
    assert word_colour(-1.0)[2] > word_colour(-1.0)[0]


def test_the_picture_has_a_row_a_method_and_shows_the_image():
    one, three = (
        draw_explanation(explanation(methods=[method(name) for name in names]), pictured(names))
        for names in (["promptfuse"], ["noprompt", "promptfuse", "blindprompt"])
    )
    assert len(pixels_of(three)) - len(pixels_of(one)) > 1.9 * len(pixels_of(one)) - 300
    assert pixels_of(one).shape[1] == pixels_of(three).shape[1]


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
            name: np.zeros_like(one) for name, one in pictured().maps["promptfuse"].items()
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
        "from promptfuse.train.report import heatmaps\n"
        "from matplotlib.backends import backend_agg\n"
        "import sys; print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    draw_explanation(explanation(), pictured())
    pyplot = sys.modules.get("matplotlib.pyplot")  # captum's import
    assert pyplot is None or pyplot.get_fignums() == []


if BROWSER is not None:

    def test_a_browser_shows_the_picture_and_the_words(tmp_path):
        picture = draw_explanation(explanation(), pictured())
        page = explanation_page(explanation(), picture)
        script = (
            "const image = document.querySelector('img.explained'); image.loading = 'eager';"
            "addEventListener('load', () => { document.title = `${image.naturalWidth} wide`; });"
        )
        shown = browsed_by(
            BROWSER,
            page,
            tmp_path,
            script,
        )
        width = pixels_of(picture).shape[1]
        assert f"<title>{width} wide</title>" in shown
        assert shown.count('class="word"') == 6
