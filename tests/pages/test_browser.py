"""The page in a real browser: no errors, a viewer that draws what the method says, sorting, keys, live updates."""

import base64
import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from stages.core.camera import rotation
from stages.progress import Silent
from stages.report import ReportRequest, run
from stages.view import Pages, ViewRequest, listen
from tests.pages.chromium import Chromium, find_chromium
from tests.pages.small_files import HOSTILE, write_prediction, write_run, write_scores

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium here (apt-get install chromium)")
COUNT = 40
NAMES = [*HOSTILE, *(f"item {i}" for i in range(COUNT - len(HOSTILE)))]
FIRST_NAMES = (
    "[...document.querySelectorAll('#items tbody tr')].slice(0, 3).map(row => row.querySelector('button').textContent)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Chromium(tmp_path_factory.mktemp("profile"), size=(1000, 640))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    prediction = write_prediction(folder / "prediction.h5", NAMES)
    scores = write_scores(folder / "scores.h5", prediction, NAMES)
    return run(ReportRequest((write_run(folder / "one"), prediction, scores), folder / "out.html")).path


@pytest.fixture
def opened(browser, report):
    browser.open(report.as_uri())
    yield browser
    assert browser.errors == []


def show(browser: Chromium, name: str) -> None:
    """Open an item in the viewer and wait until its surface is there."""
    browser.run(f"openItem(gallery.items[{NAMES.index(name)}])")
    assert browser.run("document.getElementById('viewer').open")


def canvas(browser: Chromium) -> np.ndarray:
    """(H, W, 3) of what the viewer has drawn, its background black."""
    content = browser.run("document.getElementById('surface').toDataURL('image/png')").split(",")[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))[..., :3].astype(int)


def middle(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    return picture[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4].mean((0, 1))


def test_it_loads_alone_and_breaks_on_no_name(opened):
    assert opened.run("window.broken") is None
    assert [url for url in opened.requests if not url.startswith(("data:", "file:"))] == []
    assert opened.run("document.querySelectorAll('#items tbody tr').length") == COUNT
    assert opened.run("document.querySelector('#items tbody button').textContent") == HOSTILE[0]
    assert opened.run("document.querySelectorAll('main > section:not([hidden])').length") == 6
    assert opened.run("document.querySelectorAll('#curves figure').length") == 2
    drawn = "[...document.querySelectorAll('#items img')].filter(i => i.naturalWidth > 0).length"
    opened.run("document.getElementById('gallery').scrollIntoView({behavior: 'instant'})")
    opened.wait(f"{drawn} > 0")
    assert opened.run(drawn) < COUNT, "pictures far from the window wait"


def test_a_training_that_has_logged_once_shows_dots(opened):
    once = "{run: {log: {step: [5], loss: [0.3]}}, colour: 'series-0'}"
    opened.run(f"document.querySelector('main').prepend(curveChart('loss', [{once}]))")
    assert opened.run("document.querySelector('main > figure circle.curve').getBoundingClientRect().width") > 4
    twice = "{run: {log: {step: [5, 6], loss: [0.3, 0.2]}}, colour: 'series-0'}"
    assert opened.run(f"curveChart('loss', [{twice}]).querySelector('circle')") is None


def test_sorting_and_filtering(opened):
    assert opened.run(FIRST_NAMES) == NAMES[:3]
    opened.click("#items th[data-key=side] button")
    assert opened.run(FIRST_NAMES) == NAMES[:-4:-1], "the largest first"
    assert opened.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "descending"
    opened.press("Enter")  # the heading still has the focus
    assert opened.run(FIRST_NAMES) == NAMES[:3]
    opened.run("document.getElementById('name-filter').focus()")
    opened.send("Input.insertText", text="ITEM 3")
    assert opened.run(FIRST_NAMES) == ["item 3", "item 30", "item 31"]


def test_the_light_is_that_of_the_method(opened):
    """A grey sheet of albedo 0.5 under ambient 0.3 and diffuse 0.5: 0.5 · (0.3 + 0.5 · n·l) of white."""
    show(opened, NAMES[0])
    assert middle(canvas(opened)) == pytest.approx([255 * 0.5 * 0.8] * 3, abs=3)
    opened.run("stage.lightFrom(0.6, 0), paint()")
    assert middle(canvas(opened)) == pytest.approx([255 * 0.5 * (0.3 + 0.5 * 0.8)] * 3, abs=3)
    opened.run("stage.lightFrom(5, 0), paint()")
    assert middle(canvas(opened)) == pytest.approx([255 * 0.5 * 0.3] * 3, abs=3)


def test_dragging_turns_and_lights(opened):
    show(opened, "item 5")
    before = canvas(opened)
    assert (before.sum(-1) > 0).mean() > 0.2, "the surface is drawn"
    half = before.shape[1] // 2
    assert before[:, :half, 0].sum() > 3 * before[:, :half, 2].sum(), "red on the left"
    assert before[:, half:, 2].sum() > 3 * before[:, half:, 0].sum(), "blue on the right"
    opened.drag("#surface", 120, 0)
    turned = canvas(opened)
    assert np.abs(turned - before).mean() > 3
    assert opened.run("stage.turn[2]") > 0.3, "dragged to the right, the front turns to the right"
    opened.drag("#surface", -100, 0, shift=True)
    assert np.abs(canvas(opened) - turned).mean() > 1
    assert opened.run("stage.light[0]") < -0.5
    opened.drag("#ball", 40, 0)
    assert opened.run("stage.light[0]") > 0.5


def test_keys(opened):
    show(opened, "item 5")
    opened.press("ArrowRight")
    assert opened.run("[stage.turn[2] > 0, stage.light[0]]") == [True, 0]
    opened.press("ArrowLeft", "l")
    assert opened.run("stage.light[0]") < 0
    opened.press("v")
    turn = np.array(opened.run("stage.turn")).reshape(3, 3)
    flip = np.diag([1.0, -1.0, -1.0])
    assert turn == pytest.approx(flip @ rotation(torch.tensor([[0.1, -0.5, 0.2]]))[0].numpy() @ flip, abs=1e-4)
    assert opened.run("stage.shift") == pytest.approx([0.01, -0.02, -0.03])
    opened.press("n")
    assert opened.run("document.getElementById('viewer-name').textContent") == "item 6"
    opened.press("p")
    assert opened.run("document.getElementById('viewer-name').textContent") == "item 5"
    opened.press("Escape")
    opened.wait("!document.getElementById('viewer').open")
    opened.click("#items tbody button")
    assert opened.run("document.activeElement.id") == "surface"


def test_dark_light_and_print(opened):
    def paper() -> float:
        return np.asarray(Image.open(io.BytesIO(opened.screenshot())).convert("L"))[:, :10].mean()

    opened.media(prefers_color_scheme="light")
    assert paper() > 240
    opened.media(prefers_color_scheme="dark")
    assert paper() < 40
    opened.media()
    assert opened.pdf().startswith(b"%PDF")
    assert opened.run("[...document.querySelectorAll('#items img')].every(i => i.src)"), "all pictures are printed"


def test_it_follows_a_training(browser, tmp_path):
    request = ViewRequest((write_run(tmp_path / "run"),))
    pages = Pages(request, Silent())
    pages.refresh()
    with listen(request, pages) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        browser.open(f"http://127.0.0.1:{server.server_address[1]}/")
        browser.wait("document.querySelector('#runs p')?.textContent.startsWith('step 30 of 1000')")
        write_run(tmp_path / "run", rows=7)
        browser.wait("document.querySelector('#runs p').textContent.startsWith('step 70 of 1000')")
        assert browser.errors == []
        server.shutdown()
