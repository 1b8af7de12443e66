"""What a program gets that asks the server: the answers of the file itself, in one form, whatever way it asks."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pandas as pd
import psutil
import pytest
from api_server import ApiServer, api_server
from conftest import Project
from numpy.typing import NDArray
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from imagewright.config.tensors import InputConfig
from imagewright.files import read_json, sha256, write_json
from imagewright.imaging import load_image

DIGITS, SHAPES = "results/bundle/digits8", "results/bundle/shapes"
TRAINING = {"torch", "torchvision", "lightning", "timm", "monai", "segmentation_models_pytorch", "torchmetrics"}
PROTECTION = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@pytest.fixture(scope="module")
def digits(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(built.root / DIGITS, tmp_path_factory.mktemp("digits")) as server:
        yield server


@pytest.fixture(scope="module")
def shapes(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(built.root / SHAPES, tmp_path_factory.mktemp("shapes")) as server:
        yield server


def one_of_each(built: Project) -> list[bytes]:
    return [(built.root / f"data/raw/digits8/{digit}/00.png").read_bytes() for digit in range(10)]


def as_json(*pictures: bytes) -> dict[str, Any]:
    return {"instances": [{"data": {"b64": base64.b64encode(picture).decode()}} for picture in pictures]}


def of_runtime(bundle: Path, pictures: list[bytes], runtime: str | None = None) -> NDArray[np.float32]:
    """What the file in the bundle answers when nothing of ours stands between, one picture a step.

    Which runtime is the default one depends on the machine: where a CPU is quick with 8 bits, it is int8.
    """
    export = read_json(bundle / "export.json")
    form, output = export["input"], export["output"]
    spec = InputConfig(**{name: form[name] for name in ("height", "width", "colour", "fit", "background")})
    about = read_json(bundle / "bundle.json")
    session = onnxruntime.InferenceSession(str(bundle / about["runtimes"][runtime or about["default_runtime"]]))
    steps = [
        session.run([output["tensor"]], {form["tensor"]: load_image(picture, spec)[np.newaxis]})[0]
        for picture in pictures
    ]
    return np.concatenate(steps)


def probabilities(prediction: dict[str, Any], classes: list[str]) -> list[float]:
    return [prediction["probabilities"][name] for name in classes]


def pixels(answer: httpx.Response) -> NDArray[np.uint8]:
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_however_a_picture_is_sent_the_answer_is_the_same(built: Project, digits: ApiServer) -> None:
    picture = one_of_each(built)[7]
    with digits.client() as client:
        said = [
            client.post("/predict", files={"file": ("seven.png", picture)}),
            client.post("/predict", files={"data": ("seven", picture)}),
            client.post("/predict", files={"file": picture}),
            client.post("/predict", json=as_json(picture)),
        ]
    assert [answer.status_code for answer in said] == [200] * 4
    predictions = [answer.json()["predictions"][0] for answer in said]
    assert [prediction.pop("file") for prediction in predictions] == ["seven.png", "seven", "upload", "instances.0"]
    assert predictions[0] == predictions[1] == predictions[2] == predictions[3]
    answer, bundle = said[0].json(), read_json(built.root / DIGITS / "bundle.json")
    assert (answer["bundle"], answer["runtime"]) == (bundle["id"], bundle["default_runtime"])
    assert answer["ms"] > 0


def test_several_pictures_are_answered_in_the_order_in_which_they_came(built: Project, digits: ApiServer) -> None:
    # Who sends ten pictures tells the answers apart by their place alone.
    pictures = one_of_each(built)
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    fields = ["file", "data"] * 5
    with digits.client() as client:
        parts = [(field, (f"{digit}.png", pictures[digit])) for field, digit in zip(fields, order, strict=True)]
        form = client.post("/predict", files=parts).json()["predictions"]
        coded = client.post("/predict", json=as_json(*(pictures[digit] for digit in order))).json()["predictions"]
        alone = [client.post("/predict", files={"file": picture}).json()["predictions"][0] for picture in pictures]
    assert [one["file"] for one in form] == [f"{digit}.png" for digit in order]
    assert [one["label"] for one in form] == [one["label"] for one in coded] == [alone[n]["label"] for n in order]
    classes = [str(digit) for digit in range(10)]
    expected = [probabilities(alone[digit], classes) for digit in order]
    np.testing.assert_allclose([probabilities(one, classes) for one in form], expected, rtol=0, atol=1e-6)


def test_an_answer_says_one_thing(built: Project, digits: ApiServer) -> None:
    # A label that is not the one of the largest probability would be believed.
    with digits.client() as client:
        for picture in one_of_each(built):
            (said,) = client.post("/predict", files={"file": picture}).json()["predictions"]
            assert list(said["probabilities"]) == [str(digit) for digit in range(10)]
            assert said["label"] == max(said["probabilities"], key=said["probabilities"].get) == said["name"]
            assert said["confidence"] == said["probabilities"][said["label"]]
            assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-6)
            best = sorted(said["probabilities"].items(), key=lambda item: -item[1])
            assert [(one["label"], one["probability"]) for one in said["top"]] == best[:5]
            (three,) = client.post("/predict", params={"top": 3}, files={"file": picture}).json()["predictions"]
            assert three["top"] == said["top"][:3]


def test_below_its_threshold_an_answer_is_unsure(built: Project, digits: ApiServer) -> None:
    with digits.client() as client:

        def said(picture: bytes, **parameters: float) -> dict[str, Any]:
            (one,) = client.post("/predict", params=parameters, files={"file": picture}).json()["predictions"]
            return dict(one)

        def unsure(**parameters: float) -> bool:
            return bool(said(picture, **parameters)["unsure"])

        confidence, picture = min((said(picture)["confidence"], picture) for picture in one_of_each(built))
        assert 0.1 < confidence < 0.999
        assert not unsure() and not unsure(threshold=0) and not unsure(threshold=confidence - 1e-3)
        assert unsure(threshold=confidence + 1e-3) and unsure(threshold=1)


@pytest.mark.parametrize("runtime", ["onnx", "int8"])
def test_the_server_answers_as_the_file_does(built: Project, tmp_path: Path, runtime: str) -> None:
    # Pictures of many clients go through the runtime together, and each has to get its own answer back.
    bundle = built.root / DIGITS
    index = pd.read_parquet(built.root / "results/index/digits8/index.parquet")
    paths = index[index["split"] == "test"]["path"]
    pictures = [(built.root / "data/raw/digits8" / path).read_bytes() for path in paths]
    assert len(pictures) == 45
    expected = of_runtime(bundle, pictures, runtime)
    classes = read_json(bundle / "export.json")["classes"]
    with api_server(bundle, tmp_path, None, "--runtime", runtime) as server, server.client() as client:
        assert client.get("/metadata").json()["runtime"] == runtime

        def ask(picture: bytes) -> dict[str, Any]:
            (said,) = client.post("/predict", files={"file": picture}).json()["predictions"]
            return dict(said)

        with ThreadPoolExecutor(12) as pool:
            said = list(pool.map(ask, pictures))
    found = np.array([probabilities(one, classes) for one in said])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert [one["label"] for one in said] == [classes[index] for index in expected.argmax(-1)]


def test_a_mask_is_what_the_file_says_of_each_pixel(built: Project, shapes: ApiServer) -> None:
    bundle = built.root / SHAPES
    pictures = [path.read_bytes() for path in sorted((built.root / "data/raw/shapes/images").iterdir())]
    expected = of_runtime(bundle, pictures)
    seen = set()
    with shapes.client() as client:
        for picture, each in zip(pictures, expected, strict=True):
            mask = pixels(client.post("/predict", params={"as": "png"}, files={"file": picture}))
            assert (mask.dtype, mask.shape) == (np.uint8, (32, 32))
            np.testing.assert_array_equal(mask, each.argmax(-1))
            seen |= set(mask.ravel().tolist())
            (said,) = client.post("/predict", files={"file": picture}).json()["predictions"]
            assert (said["height"], said["width"]) == (32, 32)
            assert list(said["areas"]) == ["background", "disc", "square"]
            assert sum(said["areas"].values()) == pytest.approx(1)
            counts = np.bincount(mask.ravel(), minlength=3) / mask.size
            assert list(said["areas"].values()) == pytest.approx(counts.tolist())
            assert said["confidence"] == pytest.approx(float(each.max(-1).mean()), abs=1e-6)
    assert seen == {0, 1, 2}


def test_an_overlay_shows_the_picture_and_marks_what_was_found(built: Project, shapes: ApiServer) -> None:
    picture = (built.root / "data/raw/shapes/images/02.png").read_bytes()
    with shapes.client() as client:
        mask = pixels(client.post("/predict", params={"as": "png"}, files={"file": picture}))
        overlay = pixels(client.post("/predict", params={"as": "overlay"}, files={"file": picture}))
    original = np.asarray(Image.open(io.BytesIO(picture)))
    assert overlay.shape == (32, 32, 3) and 0 < (mask > 0).mean() < 1
    np.testing.assert_array_equal(overlay[mask == 0], np.repeat(original[mask == 0][:, np.newaxis], 3, axis=1))
    assert (overlay[mask > 0].max(-1) > overlay[mask > 0].min(-1)).all(), "what was found has no colour"


def test_only_a_mask_comes_as_a_picture(built: Project, digits: ApiServer, shapes: ApiServer) -> None:
    one, two = one_of_each(built)[:2]
    for server, files in ((digits, [("file", one)]), (shapes, [("file", one), ("file", two)])):
        with server.client() as client:
            for form in ("png", "overlay"):
                answer = client.post("/predict", params={"as": form}, files=files)
                assert (answer.status_code, answer.json()["status"]) == (422, 422)


def test_every_answer_says_which_bundle_gave_it_and_protects_a_browser(built: Project, digits: ApiServer) -> None:
    # Also an error: who looks into a complaint needs to know what was serving.
    bundle = read_json(built.root / DIGITS / "bundle.json")["id"]
    with digits.client() as client:
        said = [
            *(client.get(path) for path in ("/health", "/metadata", "/metrics", "/openapi.json")),
            client.post("/predict", files={"file": one_of_each(built)[0]}),
            *(client.get(path) for path in ("/", "/predict", "/predict/", "/nothing", "/docs", "/redoc")),
            *(client.request(method, "/predict") for method in ("PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")),
            client.post("/predict"),
            client.post("/predict", files={"file": b"no picture"}),
            client.post("/predict", params={"top": "x"}, files={"file": one_of_each(built)[0]}),
        ]
        assert [answer.status_code for answer in said[:5]] == [200] * 5
        assert all(400 <= answer.status_code < 500 for answer in said[5:])
        numbers = {answer.headers["x-request-id"] for answer in said}
    assert len(numbers) == len(said)
    for answer in said:
        assert answer.headers["x-bundle-id"] == bundle
        assert PROTECTION.items() <= dict(answer.headers).items()
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "server" not in answer.headers


def test_health_and_metadata_tell_what_is_served(built: Project, digits: ApiServer) -> None:
    bundle = read_json(built.root / DIGITS / "bundle.json")
    with digits.client() as client:
        told = {"bundle": bundle["id"], "runtime": bundle["default_runtime"]}
        assert client.get("/health").json() == {"status": "ok", "live": True, "ready": True, **told}
        asked = client.head("/health")
        assert (asked.status_code, asked.content) == (200, b"")
        about = client.get("/metadata").json()
    assert (about["bundle"], about["runtime"]) == (bundle["id"], bundle["default_runtime"])
    for name in ("task", "classes", "experiment", "metrics", "primary_metric", "baseline", "n"):
        assert about[name] == bundle[name], name
    assert bundle["input"]["max_pixels"] > about["max_pixels"] == 50_000_000
    assert about["limits"] == {"max_request_mb": 32.0, "max_image_mb": 16.0, "max_images": 16}
    assert about["input"] == {name: bundle["input"][name] for name in about["input"]}


def test_metrics_count_what_was_asked(built: Project, digits: ApiServer) -> None:
    # An alarm on the share of errors is only as good as the counters.
    def counts(client: httpx.Client) -> dict[tuple[str, ...], float]:
        families = text_string_to_metric_families(client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        return {
            (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "le")): sample.value
            for sample in samples
            if not sample.name.endswith(("_created", "_bucket"))
        }

    pictures = one_of_each(built)
    with digits.client() as client:
        label = client.post("/predict", files={"file": pictures[2]}).json()["predictions"][0]["label"]
        before = counts(client)
        for _ in range(3):
            client.post("/predict", files=[("file", pictures[2]), ("file", pictures[2])])
        client.post("/predict", files={"file": b"no picture"})
        client.get("/health")
        for path in ("/nothing", "/no/../thing", "/%00"):
            client.get(path)
        after = counts(client)
    grown = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    seconds = {name: grown.pop(name) for name in list(grown) if name[0] == "imagewright_request_seconds_sum"}
    assert grown == {
        ("imagewright_requests_total", "/predict", "200"): 3,
        ("imagewright_requests_total", "/predict", "415"): 1,
        ("imagewright_requests_total", "/health", "200"): 1,
        ("imagewright_requests_total", "/metrics", "200"): 1,
        ("imagewright_requests_total", "other", "404"): 3,
        ("imagewright_predictions_total", label): 6,
        ("imagewright_request_seconds_count", "/predict"): 4,
        ("imagewright_request_seconds_count", "/health"): 1,
        ("imagewright_request_seconds_count", "/metrics"): 1,
        ("imagewright_request_seconds_count", "other"): 3,
    }
    assert 0 < seconds["imagewright_request_seconds_sum", "/predict"] < 60
    assert after["imagewright_waiting",] == 0


def test_the_description_has_every_path_and_an_example_that_works(built: Project, digits: ApiServer) -> None:
    with digits.client() as client:
        description = client.get("/openapi.json").json()
        assert set(description["paths"]) == {"/predict", "/health", "/metadata", "/metrics"}
        predict = description["paths"]["/predict"]["post"]
        assert set(predict["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
        statuses = {200, 400, 401, 404, 405, 408, 413, 415, 422, 429, 503, 504}
        assert set(map(int, predict["responses"])) == statuses
        answer = client.post("/predict", json=predict["requestBody"]["content"]["application/json"]["example"])
    assert answer.status_code == 200 and len(answer.json()["predictions"]) == 1


def test_names_for_people_stand_beside_the_classes(built: Project, tmp_path: Path) -> None:
    # data.names is a mapping, and need not have a name for each class.
    bundle = tmp_path / "bundle"
    shutil.copytree(built.root / DIGITS, bundle)
    export, about = read_json(bundle / "export.json"), read_json(bundle / "bundle.json")
    write_json(bundle / "export.json", export | {"names": {"3": "three", "7": "sieben ÷"}})
    about["files"]["export.json"] = sha256(bundle / "export.json")
    write_json(bundle / "bundle.json", about)
    three, four = one_of_each(built)[3:5]
    with api_server(bundle, tmp_path / "server") as server, server.client() as client:
        said = client.post("/predict", files=[("file", three), ("file", four)]).json()["predictions"]
        assert [(one["label"], one["name"]) for one in said] == [("3", "three"), ("4", "4")]
        named = ["0", "1", "2", "three", "4", "5", "6", "sieben ÷", "8", "9"]
        assert client.get("/metadata").json()["names"] == named


def test_only_a_page_that_was_let_in_may_read_the_answers(built: Project, tmp_path: Path) -> None:
    ours, other = "https://ui.example.org", "https://other.example.org"
    limits = {"allowed_origins": [ours]}
    picture = one_of_each(built)[0]
    with api_server(built.root / DIGITS, tmp_path, limits) as server, server.client() as client:
        let_in = client.post("/predict", files={"file": picture}, headers={"Origin": ours})
        assert let_in.headers["access-control-allow-origin"] == ours
        assert "x-request-id" in let_in.headers["access-control-expose-headers"].lower()
        broken = client.post("/predict", files={"file": b"no picture"}, headers={"Origin": ours})
        assert broken.status_code == 415 and broken.headers["access-control-allow-origin"] == ours
        # A browser asks first where a key is sent along.
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key,content-type"}
        assert client.options("/predict", headers={"Origin": ours, **asks}).status_code == 200
        assert (
            "access-control-allow-origin" not in client.options("/predict", headers={"Origin": other, **asks}).headers
        )
        others = client.post("/predict", files={"file": picture}, headers={"Origin": other})
        assert "access-control-allow-origin" not in others.headers


def test_the_log_tells_of_requests_and_not_of_people(built: Project, tmp_path: Path) -> None:
    with api_server(built.root / DIGITS, tmp_path) as server:
        with server.client(headers={"X-API-Key": "its-secret", "User-Agent": "its-agent"}) as client:
            answer = client.post("/predict?threshold=0.123", files={"file": ("its-name.png", one_of_each(built)[0])})
            broken = client.post("/predict", files={"file": ("its-name.png", b"its-content")})
            client.get("/a%22%0A%7B%E2%80%A8%1B%FF")
        assert server.stop() == 0
        text, lines = server.log.read_text(), server.lines()
    assert not re.findall(r"its-\w+|0\.123", text)
    requests = [line for line in lines if line.get("path") == "/predict"]
    assert [line["request"] for line in requests] == [
        answer.headers["x-request-id"],
        broken.headers["x-request-id"],
    ]
    assert [line["status"] for line in requests] == [200, 415]
    assert all(line["method"] == "POST" and line["ms"] > 0 for line in requests)


def test_the_server_needs_nothing_that_trains(built: Project, digits: ApiServer) -> None:
    # torch is most of a container's size, and of its start.
    code = "import imagewright.serve.app, imagewright.serve.server, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not TRAINING & {module.split(".")[0] for module in done.stdout.split()}
    with digits.client() as client:
        assert client.post("/predict", files={"file": one_of_each(built)[0]}).status_code == 200
    maps = Path(f"/proc/{digits.pid}/maps").read_text()
    loaded = {part for line in maps.splitlines() for part in line.split("/")}
    assert "onnxruntime" in loaded
    assert not loaded & TRAINING


def test_the_server_keeps_to_itself(built: Project, tmp_path: Path) -> None:
    # ONNX Runtime tells its maker what it runs, where nobody says no; patients' data are asked with such models.
    folders = {name: tmp_path / name.lower() for name in ("HOME", "TMPDIR")}
    for folder in folders.values():
        folder.mkdir()
    variables = {name: str(folder) for name, folder in folders.items()}
    # Some of these would switch it off already.
    quiet = dict.fromkeys(("CI", "GITHUB_ACTIONS", "ORT_RUNNING_UNIT_TESTS"), "")
    with api_server(built.root / DIGITS, tmp_path / "server", **variables, **quiet) as server:
        with server.client() as client:
            assert client.post("/predict", files={"file": one_of_each(built)[0]}).status_code == 200
            connections = psutil.Process(server.pid).net_connections()
        assert server.stop() == 0
    assert {connection.laddr for connection in connections} == {server.address}
    assert [path for folder in folders.values() for path in folder.rglob("*")] == []


def test_an_exported_folder_is_served_only_where_it_is_said(built: Project, tmp_path: Path) -> None:
    folder = built.root / "results/export/digits8"
    picture = one_of_each(built)[5]
    with api_server(folder, tmp_path, None, "--ungated") as server, server.client() as client:
        answer = client.post("/predict", files={"file": picture})
        about = client.get("/metadata").json()
    assert answer.headers["x-bundle-id"].startswith("ungated-")
    assert about["bundle"] == answer.headers["x-bundle-id"]
    assert json.dumps(about["metrics"]) == "null"
    # Nobody has found a best runtime of it.
    expected = of_runtime(built.root / DIGITS, [picture], "onnx")[0]
    found = probabilities(answer.json()["predictions"][0], about["classes"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
