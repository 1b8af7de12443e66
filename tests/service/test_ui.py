"""The web page as people use it: the real page in a real browser, asking the real API about a real model."""

import hashlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from conftest import Project, environment
from PIL import Image

from imagewright.colours import colour
from imagewright.config.tensors import InputConfig
from imagewright.errors import ServeError
from imagewright.imaging import resize_mask
from imagewright.ui import run_ui
from imagewright.ui.client import Api, ApiError
from imagewright.ui.overlay import UNSEEN, areas, blended, placed

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = pytest.mark.slow

START_S = 60
STOP_S = 30
WAIT_MS = 30_000
SHOW = "import sys; from imagewright.ui import run_ui; sys.exit(run_ui('127.0.0.1', 0, sys.argv[1]))"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Running:
    """A server: its address and its process."""

    url: str
    process: "subprocess.Popen[bytes]"


@contextmanager
def running(
    command: Sequence[str], health: str, address: Callable[[], str], log: Path, variables: Mapping[str, str]
) -> Iterator[Running]:
    """Start a server, wait until it answers, and stop it: whoever tells it to stop gets the status 0."""
    with log.open("ab") as printed:
        process = subprocess.Popen(
            command, stdout=printed, stderr=subprocess.STDOUT, env=environment(variables), start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_S
        while not answers(url := address(), health):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield Running(url, process)
        if process.poll() is None:
            process.terminate()
            assert process.wait(STOP_S) == 0, log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_S)


def answers(url: str, health: str) -> bool:
    try:
        return bool(url) and httpx.get(url + health, timeout=2).is_success
    except httpx.HTTPError:
        return False


def serving(bundle: Path, log: Path, port: int = 0, **variables: str) -> AbstractContextManager[Running]:
    """The API, in a process of its own."""
    ready = log.with_suffix(".url")
    command = ["imagewright", "serve", str(bundle), "--port", str(port), "--ready", str(ready)]
    return running(command, "/health", lambda: ready.read_text() if ready.exists() else "", log, variables)


def showing(api: str, log: Path, **variables: str) -> AbstractContextManager[Running]:
    """The page, in a process of its own."""

    def address() -> str:
        found = re.search(r"the page: (http://\S+)", log.read_text())
        return found.group(1) if found else ""

    return running([sys.executable, "-c", SHOW, api], "/_stcore/health", address, log, variables)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="module")
def classifier(built: Project, logs: Path) -> Iterator[str]:
    with serving(built.root / "results/bundle/digits8", logs / "digits8.log") as api:
        yield api.url


@pytest.fixture(scope="module")
def segmenter(built: Project, logs: Path) -> Iterator[str]:
    with serving(built.root / "results/bundle/shapes", logs / "shapes.log") as api:
        yield api.url


@pytest.fixture(scope="module")
def examples(built: Project, logs: Path) -> Path:
    """A folder of eight pictures and a text, of which six pictures are shown."""
    folder = logs / "examples"
    folder.mkdir()
    for digit in range(8):
        shutil.copy(digits(built, digit)[0], folder / f"digit-{digit}.png")
    (folder / "a note.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def labels_page(classifier: str, examples: Path, logs: Path) -> Iterator[str]:
    with showing(classifier, logs / "labels.log", IMAGEWRIGHT_EXAMPLES=str(examples)) as page:
        yield page.url
        # The page loads no model, so it must start where torch is not installed.
        (child,) = psutil.Process(page.process.pid).children()
        assert not re.search("torch|onnxruntime", Path(f"/proc/{child.pid}/maps").read_text())


@pytest.fixture(scope="module")
def masks_page(segmenter: str, logs: Path) -> Iterator[str]:
    with showing(segmenter, logs / "masks.log") as page:
        yield page.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no chromium: apt-get install chromium")
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_api.sync_playwright() as playwright, ExitStack() as stack:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *camera])
        stack.callback(launched.close)
        yield launched


@pytest.fixture
def tab(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """An empty page of the browser; nothing in it may ask anybody but this machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    context.set_default_timeout(WAIT_MS)
    hosts: set[str | None] = set()
    context.on("request", lambda request: hosts.add(httpx.URL(request.url).host))
    tab = context.new_page()
    yield tab
    tab.screenshot(path=tmp_path / "page.png", full_page=True)
    context.close()
    assert hosts - {""} == {"127.0.0.1"}


def digits(built: Project, digit: int) -> list[Path]:
    return sorted((built.root / f"data/raw/digits8/{digit}").glob("*.png"))


def told(api: str, paths: list[Path]) -> list[dict[str, Any]]:
    """What the API says of pictures, asked without the page."""
    files = [("file", (path.name, path.read_bytes())) for path in paths]
    predictions: list[dict[str, Any]] = httpx.post(f"{api}/predict", files=files).json()["predictions"]
    return predictions


def by_confidence(api: str, paths: list[Path]) -> list[Path]:
    """The surest last."""
    confidences = [prediction["confidence"] for prediction in told(api, paths)]
    return [paths[index] for index in np.argsort(confidences)]


def upload(tab: Any, *paths: Path) -> None:
    tab.locator("input[type=file]").set_input_files(paths)


def label(tab: Any) -> Any:
    """What the first picture on the page is called; beside it stands the confidence."""
    return tab.get_by_role("definition").first


def shown(tab: Any, alternative: str) -> np.ndarray[Any, Any]:
    """The pixels of a picture on the page."""
    source = tab.get_by_role("img", name=alternative, exact=True).get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(tab.request.get(str(httpx.URL(tab.url).join(source))).body())))


def test_one_picture(built: Project, classifier: str, labels_page: str, tab: Any) -> None:
    picture = by_confidence(classifier, digits(built, 3)[:16])[-1]
    tab.goto(labels_page)
    upload(tab, picture)
    expect(tab.get_by_role("heading", name=picture.name)).to_be_visible(timeout=WAIT_MS)
    expect(label(tab)).to_have_text("3", timeout=WAIT_MS)
    chart = tab.get_by_test_id("stVegaLiteChart")
    expect(chart.locator("svg")).to_contain_text("3", timeout=WAIT_MS)
    # What the bars show is also there for those who hear the page.
    expect(tab.get_by_role("button", name=re.compile(r"Probabilities: 3 \d"))).not_to_have_count(0, timeout=WAIT_MS)
    features = tab.get_by_text(re.compile(r"8 × 8 pixels · brightness 0\.\d+ · contrast .+ answered in \d+ ms"))
    expect(features).to_be_visible(timeout=WAIT_MS)
    sidebar = tab.get_by_role("region", name="Sidebar")
    expect(sidebar).to_contain_text(built.json("results/bundle/digits8/bundle.json")["id"], timeout=WAIT_MS)
    expect(sidebar).to_contain_text("digits8")


def test_several_pictures_of_which_one_is_a_text(
    built: Project, classifier: str, labels_page: str, tab: Any, tmp_path: Path
) -> None:
    # One bad file must not spoil the others, and its name must not be read as Markdown or HTML.
    text = tmp_path / "*no* <b>picture.png"
    text.write_text("This is a text.")
    pictures = [by_confidence(classifier, digits(built, digit)[:16])[-1] for digit in (0, 7)]
    tab.goto(labels_page)
    upload(tab, pictures[0], text, pictures[1])
    problem = told_by(classifier, text)
    expect(tab.get_by_role("alert")).to_contain_text(problem[1:], timeout=WAIT_MS)
    expect(tab.get_by_role("heading", name=text.name)).to_be_visible(timeout=WAIT_MS)
    # Of each picture, the label and the confidence.
    expect(tab.get_by_role("definition")).to_have_text(["0", re.compile("%"), "7", re.compile("%")], timeout=WAIT_MS)


def told_by(api: str, path: Path) -> str:
    """The API's own word about what is no picture."""
    response = httpx.post(f"{api}/predict", files={"file": (path.name, path.read_bytes())})
    assert response.is_client_error
    return str(response.json()["detail"])


def test_unsure_below_the_threshold(built: Project, classifier: str, labels_page: str, tab: Any) -> None:
    picture = by_confidence(classifier, [path for digit in range(10) for path in digits(built, digit)[:1]])[0]
    tab.goto(labels_page)
    upload(tab, picture)
    expect(label(tab)).to_have_text(re.compile(r"\d"), timeout=WAIT_MS)
    slider = tab.get_by_role("slider", name="Unsure below")
    slider.focus()
    slider.press("End")
    expect(label(tab)).to_have_text("unsure", timeout=WAIT_MS)
    expect(tab.get_by_text("Most probable")).to_be_visible()
    slider.press("Home")
    expect(label(tab)).to_have_text(re.compile(r"\d"), timeout=WAIT_MS)


def test_an_example(labels_page: str, tab: Any) -> None:
    tab.goto(labels_page)
    tab.get_by_text("Examples", exact=True).click()
    buttons = tab.get_by_role("button", name="Use digit-")
    expect(buttons).to_have_count(6, timeout=WAIT_MS)
    buttons.nth(4).focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="digit-4.png")).to_be_visible(timeout=WAIT_MS)
    expect(tab.get_by_text("answered in")).to_be_visible(timeout=WAIT_MS)


def test_the_camera_is_off_until_it_is_asked_for(labels_page: str, tab: Any) -> None:
    tab.add_init_script(
        "window.asked = 0; const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
        "navigator.mediaDevices.getUserMedia = (what) => { window.asked += 1; return ask(what); };"
    )
    tab.goto(labels_page)
    expect(tab.get_by_text("Camera", exact=True)).to_be_visible(timeout=WAIT_MS)
    assert tab.evaluate("window.asked") == 0
    tab.get_by_text("Camera", exact=True).click()
    tab.wait_for_function("document.querySelector('video')?.videoWidth > 0")
    tab.get_by_role("button", name="Take Photo").click()
    expect(tab.get_by_role("heading", name="camera")).to_be_visible(timeout=WAIT_MS)
    expect(tab.get_by_text("answered in")).to_be_visible(timeout=WAIT_MS)
    assert tab.evaluate("window.asked") > 0


def test_a_mask_over_its_picture(built: Project, segmenter: str, masks_page: str, tab: Any) -> None:
    picture = sorted((built.root / "data/raw/shapes/images").glob("*.png"))[1]
    answer = httpx.post(f"{segmenter}/predict?as=png", files={"file": picture.read_bytes()})
    mask = np.asarray(Image.open(io.BytesIO(answer.content))).repeat(15, axis=0).repeat(15, axis=1)
    assert (mask > 0).any()
    original = np.asarray(Image.open(picture).convert("RGB")).repeat(15, axis=0).repeat(15, axis=1)
    tab.goto(masks_page)
    upload(tab, picture)
    alternative = f"The picture {picture.name} with its mask"
    image, slider = tab.get_by_role("img", name=alternative), tab.get_by_role("slider", name="Opacity of the mask")
    expect(image).to_be_visible(timeout=WAIT_MS)
    half = shown(tab, alternative)
    seen = {}
    for key in ("Home", "End"):
        before = image.get_attribute("src")
        slider.focus()
        slider.press(key)
        expect(image).not_to_have_attribute("src", before, timeout=WAIT_MS)
        seen[key] = shown(tab, alternative)
    np.testing.assert_array_equal(seen["Home"], original)
    for index in (1, 2):
        assert (seen["End"][mask == index] == colour(index)).all()
    np.testing.assert_array_equal(seen["End"][mask == 0], original[mask == 0])
    assert not np.array_equal(half, seen["End"]) and not np.array_equal(half, original)
    table = tab.get_by_role("table")
    for name, area in told(segmenter, [picture])[0]["areas"].items():
        expect(table.get_by_role("row", name=name)).to_contain_text(f"{100 * area:.1f} %")


def test_the_backend_is_down_and_comes_back(built: Project, tab: Any, tmp_path: Path) -> None:
    port = free_port()
    api = f"http://127.0.0.1:{port}"
    with showing(api, tmp_path / "page.log") as page:
        tab.goto(page.url)
        alert = tab.get_by_role("alert")
        expect(alert).to_contain_text(f"The backend at {api} does not answer", timeout=WAIT_MS)
        expect(alert).to_contain_text(f"imagewright serve results/bundle/digits --port {port}")
        tab.screenshot(path=tmp_path / "down.png")
        upload(tab, digits(built, 3)[0])
        with serving(built.root / "results/bundle/digits8", tmp_path / "api.log", port):
            tab.get_by_role("button", name="Try again").click()
            # What was chosen in the meantime is still there.
            expect(tab.get_by_text("answered in")).to_be_visible(timeout=WAIT_MS)
            expect(alert).to_have_count(0)
        tab.get_by_text("Camera", exact=True).click()
        expect(alert).to_contain_text("does not answer", timeout=WAIT_MS)


def test_a_key_is_sent(built: Project, tmp_path: Path) -> None:
    hashed = hashlib.sha256(b"open sesame").hexdigest()
    bundle, log = built.root / "results/bundle/digits8", tmp_path / "api.log"
    with serving(bundle, log, IMAGEWRIGHT_API_KEYS_SHA256=hashed) as api:
        assert Api(api.url, "open sesame").served().task == "classification"
        with pytest.raises(ApiError, match="IMAGEWRIGHT_API_KEY"):
            Api(api.url).served()


@pytest.mark.parametrize("url", ["127.0.0.1:1", "http://", "http://[", "http://127.0.0.1:99999"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ApiError, match=re.escape(url.rstrip("/"))):
        Api(url).bundle()


def test_something_else_answers(labels_page: str) -> None:
    with pytest.raises(ApiError, match=r"not as Imagewright's API|answered with 4"):
        Api(labels_page).bundle()


def test_ctrl_c_ends_the_page(tmp_path: Path) -> None:
    with showing("http://127.0.0.1:1", tmp_path / "page.log") as page:
        children = psutil.Process(page.process.pid).children(recursive=True)
        os.killpg(page.process.pid, signal.SIGINT)
        assert page.process.wait(STOP_S) == 0
        assert children and not [child for child in children if child.is_running()]
    assert "Traceback" not in (tmp_path / "page.log").read_text()


def test_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServeError, match="--port"):
            run_ui("127.0.0.1", taken.getsockname()[1], None)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 300), (320, 320)])
def test_a_mask_lies_where_the_picture_was(fit: Any, height: int, width: int) -> None:
    # A mask that is stretched over a cropped or padded picture points at the wrong things.
    rows, columns = np.mgrid[:height, :width]
    truth = (1 + (rows >= height // 2) + 2 * (columns >= width // 2)).astype(np.uint8)
    form = InputConfig(height=64, width=64, colour="gray", fit=fit)
    mask = resize_mask(truth, form, outside=0)
    found = placed(mask, height, width, fit)
    unseen = found == UNSEEN
    assert (found[~unseen] == truth[~unseen]).mean() > 0.97
    assert unseen.mean() == pytest.approx(abs(height - width) / max(height, width) if fit == "crop" else 0, abs=0.01)
    assert areas(mask, 5, height, width, fit) == pytest.approx([0, 0.25, 0.25, 0.25, 0.25], abs=0.02)


def test_what_the_model_did_not_see_is_dark() -> None:
    image = np.full((1, 3, 3), 200, np.uint8)
    mixed = blended(image, np.array([[0, 1, UNSEEN]], np.int16), 0.5)
    assert mixed[0, 0].tolist() == [200] * 3 and mixed[0, 1].tolist() == [215, 180, 100] and mixed[0, 2, 0] < 100
