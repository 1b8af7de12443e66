"""What is refused, and how: quickly, with the right status, in one form, and never with a prediction."""

import base64
import gzip
import io
import re
import select
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from api_server import ApiServer, api_server, refused
from conftest import Project
from PIL import Image

DIGITS = "results/bundle/digits8"
MB = 1_000_000
LIMITS = {"max_request_mb": 1.0, "max_image_mb": 0.3, "max_images": 3, "timeout_s": 1.0, "queue": 4}
SOON_S = 5.0
"""Much more than any refusal takes on a busy machine, and much less than to read or decode what was refused."""


@pytest.fixture(scope="module")
def server(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(built.root / DIGITS, tmp_path_factory.mktemp("limits"), LIMITS) as started:
        yield started
        # Whatever the tests below have sent, it still works, and has said nothing but its own lines.
        with started.client() as client:
            assert client.post("/predict", files={"file": picture()}).status_code == 200
        assert not [line for line in started.lines() if line["level"] == "error"]


@pytest.fixture
def client(server: ApiServer) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def picture(size: tuple[int, int] = (8, 8), form: str = "PNG", mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, form)
    return buffer.getvalue()


def noise(count: int) -> bytes:
    """A picture of about that many bytes: noise cannot be compressed."""
    side = int(count**0.5)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A whole, tiny PNG whose header says that it is huge."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    row = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def gif_bomb(width: int, height: int) -> bytes:
    content = bytearray(picture(form="GIF"))
    # The size of the screen, and that of its one frame.
    struct.pack_into("<HH", content, 6, width, height)
    struct.pack_into("<HH", content, content.index(b"\x2c\0\0\0\0") + 5, width, height)
    return bytes(content)


def raw(
    server: ApiServer, *parts: bytes, patience_s: float = SOON_S, to_the_end: bool = False
) -> tuple[httpx.Response | None, float]:
    """Send bytes as they are, and give the answer, None where the connection was closed without one, and the time."""
    started = time.monotonic()
    with socket.create_connection(server.address, timeout=patience_s) as connection:
        with suppress(ConnectionError):  # what it has said by then can still be read
            for part in parts:
                connection.sendall(part)
        said = heard(connection, to_the_end)
    return parsed(said), time.monotonic() - started


def heard(connection: socket.socket, to_the_end: bool = False) -> bytes:
    """One answer; or all that comes until the connection is closed."""
    said = b""
    with suppress(ConnectionError):
        while (to_the_end or not whole(said)) and (more := connection.recv(65536)):
            said += more
    return said


def whole(said: bytes) -> bool:
    head, end, body = said.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(end and length and len(body) >= int(length.group(1)))


def parsed(said: bytes) -> httpx.Response | None:
    if not said:
        return None
    head, _, body = said.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)


def head(**headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST /predict HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()


def test_a_request_that_says_it_is_too_large_is_not_read(server: ApiServer) -> None:
    answer, seconds = raw(server, head(Content_Type="multipart/form-data; boundary=x", Content_Length=str(10**9)))
    assert answer and seconds < SOON_S
    refused(answer, 413, "larger than 1 MB")


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json"])
def test_a_request_that_does_not_say_how_large_it_is_is_cut_off(server: ApiServer, kind: str) -> None:
    # Without Content-Length, only what has come can be counted; 300 MB are sent as long as somebody takes them.
    part = b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n" if "form" in kind else b'"'
    part += b"a" * 60_000
    chunk = b"%x\r\n%s\r\n" % (len(part), part)
    sent, started, said = 0, time.monotonic(), b""
    with socket.create_connection(server.address, timeout=SOON_S) as connection:
        connection.sendall(head(Content_Type=kind, Transfer_Encoding="chunked"))
        while sent < 300 * MB and not said:
            readable, writable, _ = select.select([connection], [connection], [], SOON_S)
            if readable:
                said = heard(connection)
            elif writable:
                sent += connection.send(chunk[sent % len(chunk) :])
    answer = parsed(said)
    assert answer
    refused(answer, 413, "larger than 1 MB")
    # What lies in the buffers of the two sockets was never read.
    assert sent < 20 * MB
    assert time.monotonic() - started < SOON_S


def test_who_sends_all_before_looking_is_told_all_the_same(client: httpx.Client) -> None:
    # Most programs do: for them, a connection that is closed in between is only a broken one.
    for size in (2 * MB, 20 * MB):
        refused(client.post("/predict", files={"file": bytes(size)}), 413, "larger than 1 MB")
    assert client.get("/health").status_code == 200


def test_who_never_stops_sending_is_cut_off(server: ApiServer) -> None:
    sent, started = 0, time.monotonic()
    with socket.create_connection(server.address, timeout=SOON_S) as connection:
        connection.sendall(head(Content_Type="application/json", Content_Length=str(10**12)))
        with suppress(ConnectionError):
            while time.monotonic() - started < 3 * SOON_S:
                sent += connection.send(bytes(MB))
    assert time.monotonic() - started < 2 + SOON_S
    assert sent < 100 * MB


def test_a_compressed_request_is_not_unpacked(client: httpx.Client) -> None:
    # A gigabyte of nothing is a megabyte when it is packed.
    packed = gzip.compress(b'{"instances": []}' + bytes(50 * MB))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    refused(client.post("/predict", content=packed, headers=headers), 422)


def test_an_image_that_is_too_large(client: httpx.Client) -> None:
    large = noise(400_000)
    problem = refused(client.post("/predict", files={"file": ("large.png", large)}), 413, "large.png", "0.3 MB")
    assert problem["file"] == "large.png"
    coded = {"instances": [{"data": {"b64": base64.b64encode(large).decode()}}]}
    refused(client.post("/predict", json=coded), 413, "instances.0", "0.3 MB")
    assert client.post("/predict", files={"file": noise(200_000)}).status_code == 200


def test_too_many_images(client: httpx.Client) -> None:
    coded = {"data": {"b64": base64.b64encode(picture()).decode()}}
    refused(client.post("/predict", files=[("file", picture())] * 4), 413, "more than 3 pictures")
    refused(client.post("/predict", json={"instances": [coded] * 4}), 413, "more than 3 pictures")
    assert client.post("/predict", files=[("file", picture())] * 3).status_code == 200
    assert client.post("/predict", json={"instances": [coded] * 3}).status_code == 200


@pytest.mark.parametrize(
    "bomb",
    [png_bomb(10_001, 5_000), png_bomb(2**31 - 1, 2**31 - 1), png_bomb(1, 50_000_001), gif_bomb(65_535, 65_535)],
    ids=["just too large", "largest", "one column", "gif"],
)
def test_a_picture_with_too_many_pixels_is_not_decoded(server: ApiServer, client: httpx.Client, bomb: bytes) -> None:
    # A few hundred bytes that want gigabytes.
    assert len(bomb) < 200_000
    before = psutil.Process(server.pid).memory_info().rss
    started = time.monotonic()
    refused(client.post("/predict", files={"file": ("bomb.png", bomb)}), 413, "pixels are more than the limit of")
    assert time.monotonic() - started < SOON_S
    assert psutil.Process(server.pid).memory_info().rss - before < 30 * MB


@pytest.mark.parametrize(
    "kind", ["text/plain", "image/png", "application/x-www-form-urlencoded", "", "multipart/mixed"]
)
def test_another_content_type(client: httpx.Client, kind: str) -> None:
    refused(client.post("/predict", content=picture(), headers={"Content-Type": kind}), 415, "multipart/form-data")


@pytest.mark.parametrize(
    "content",
    [
        b"this is a text\n" * 50,
        b"%PDF-1.7\n%%EOF",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"PK\x03\x04" + bytes(99),
    ],
    ids=["text", "pdf", "svg", "zip"],
)
def test_what_is_no_picture_whatever_its_name(client: httpx.Client, content: bytes) -> None:
    refused(client.post("/predict", files={"file": ("cat.png", content, "image/png")}), 415, "no picture")


def test_a_picture_that_is_called_something_else_is_one(client: httpx.Client) -> None:
    answer = client.post("/predict", files={"file": ("letter.txt", picture(), "text/plain")})
    assert answer.status_code == 200


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_picture_that_was_cut_short(client: httpx.Client, form: str) -> None:
    # Half an upload must not become half a diagnosis.
    whole = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(whole, form)
    assert client.post("/predict", files={"file": whole.getvalue()}).status_code == 200
    answer = client.post("/predict", files={"file": whole.getvalue()[: len(whole.getvalue()) // 2]})
    refused(answer, answer.status_code)
    assert answer.status_code in (415, 422)


def test_a_picture_whose_colours_cannot_be_converted(client: httpx.Client) -> None:
    refused(client.post("/predict", files={"file": picture(form="TIFF", mode="LAB")}), 422, "cannot be converted")


def test_one_bad_picture_among_good_ones(client: httpx.Client) -> None:
    # No answers to two of three: the client could not tell which.
    files = [("file", picture()), ("file", ("bad.png", b"no picture")), ("file", picture())]
    for _ in range(10):  # a place in the queue that is not given back would be missing by now
        assert refused(client.post("/predict", files=files), 415)["file"] == "bad.png"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"file": ("empty.png", b"")}, ["empty"]),
        ({"picture": ("a.png", b"x")}, ["no field 'picture'"]),
        ({"file": ("a.png", b"x"), "threshold": ("", b"0.5")}, ["no field 'threshold'"]),
    ],
    ids=["empty", "another field", "one field too many"],
)
def test_a_form_that_is_not_the_one(client: httpx.Client, files: dict[str, Any], words: list[str]) -> None:
    refused(client.post("/predict", files=files), 422, *words)


def form(text: str, kind: str = "multipart/form-data; boundary=x") -> tuple[str, bytes]:
    return kind, text.replace("\n", "\r\n").encode("latin-1")


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (form("--x--\n"), 422, ["there is no picture"]),
        (form("--x\nContent-Disposition: form-data; name=file\n\ntext\n--x--\n"), 422, ["holds no file"]),
        (form("--x\nContent-Disposition: form-data\n\ntext\n--x--\n"), 400, ["cannot be read"]),
        (form("--x\n: :\n\ntext\n--x--\n"), 400, ["cannot be read"]),
        (form("nonsense"), 400, ["cannot be read"]),
        (form("--x--\n", "multipart/form-data"), 400, ["cannot be read"]),
        (form("--x--\n", f"multipart/form-data; boundary={'x' * 300}"), 400, ["cannot be read"]),
        # Codecs of Python's that are no charset, or that make what cannot be sent back.
        (form("--x--\n", "multipart/form-data; boundary=x; charset=undefined"), 415, ["UTF-8"]),
        (form("--x--\n", "multipart/form-data; boundary=x; charset=utf-7"), 415, ["UTF-8"]),
        (form("--x--\n", "multipart/form-data; boundary=x; charset=unicode_escape"), 415, ["UTF-8"]),
        (form("--x\n" + "".join(f"X-{n}: {n}\n" for n in range(999)) + "\n\n--x--\n"), 400, ["cannot be read"]),
    ],
    ids=[
        "nothing in it", "text", "no name", "no header", "no form", "no boundary", "long boundary", "undefined",
        "utf-7", "unicode_escape", "many headers",
    ],
)  # fmt: skip
def test_a_broken_form(client: httpx.Client, sent: tuple[str, bytes], status: int, words: list[str]) -> None:
    refused(client.post("/predict", content=sent[1], headers={"Content-Type": sent[0]}), status, *words)


@pytest.mark.parametrize("name", ["\N{GRINNING FACE}.png", "\xff", 'a"b', "../../x"])
def test_any_name_of_a_file_is_only_a_name(client: httpx.Client, name: str) -> None:
    answer = client.post("/predict", files={"file": (name, picture())})
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["file"]


def test_a_file_needs_no_name(client: httpx.Client) -> None:
    begin = b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n'
    content = begin + picture() + b"\r\n--x--\r\n"
    answer = client.post("/predict", content=content, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.json()["predictions"][0]["file"] == "file"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"1e999", b'"x"', b"\xff\xfe{", b"{}", b'{"instances": {}}', b'{"instances": [1]}',
        b'{"instances": [{"data": "x"}]}', b'{"instances": [{"data": {"b64": 1}}]}', b'{"instances": [], "x": 1}',
        b'{"instances": [{"data": {"b64": "eA==", "x": 1}}]}', b'{"instances": [], "\\ud800": 1}',
        b'{"instances": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_json_that_is_not_the_one(client: httpx.Client, body: bytes) -> None:
    refused(client.post("/predict", content=body, headers={"Content-Type": "application/json"}), 422, "instances")


@pytest.mark.parametrize("text", ["=", "%%%%", "eA", "eA==eA==", "eA ==", "\\u00e9", "\\ud800", "eA==\\n"])
def test_base64_that_is_none(client: httpx.Client, text: str) -> None:
    body = f'{{"instances": [{{"data": {{"b64": "{text}"}}}}]}}'.encode()
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 422, "instances.0.data.b64 is not base64")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 900_000, 422),
        (b'{"instances":' * 70_000, 422),
        (b'{"instances":[' + b"{}," * 300_000 + b"{}]}", 413),
        (b'{"instances":[' + b"1," * 400_000 + b"1]}", 413),
    ],
    ids=["deep", "deep objects", "many objects", "many numbers"],
)
def test_json_that_is_deep_or_long_costs_nothing(
    server: ApiServer, client: httpx.Client, body: bytes, status: int
) -> None:
    # A megabyte that becomes a million objects, and as many complaints, keeps everybody waiting.
    before = psutil.Process(server.pid).memory_info().rss
    started = time.monotonic()
    for _ in range(3):
        refused(client.post("/predict", content=body, headers={"Content-Type": "application/json"}), status)
    assert time.monotonic() - started < 2
    assert psutil.Process(server.pid).memory_info().rss - before < 50 * MB


@pytest.mark.parametrize(
    "query",
    ["as=jpeg", "as=", "top=0", "top=-1", "top=1001", "top=x", "top=1.5", "threshold=1.1", "threshold=-1",
     "threshold=nan", "threshold=inf", "threshold=x", "threshold="],
)  # fmt: skip
def test_a_value_that_is_none(client: httpx.Client, query: str) -> None:
    answer = client.post(f"/predict?{query}", files={"file": picture()})
    refused(answer, 422, f"query.{query.partition('=')[0]}")


def test_another_method_or_path(client: httpx.Client) -> None:
    for method, path in (("GET", "/predict"), ("PUT", "/predict"), ("POST", "/health"), ("DELETE", "/metadata")):
        answer = client.request(method, path)
        refused(answer, 405)
        assert answer.headers["allow"] == ("POST" if path == "/predict" else "GET")
    for path in ("/", "/predict/", "//predict", "/Predict", "/docs", "/redoc", "/..", "/%2e%2e/etc/passwd", "/a" * 999):
        refused(client.post(path, files={"file": picture()}), 404)


@pytest.mark.parametrize(
    ("parts", "statuses"),
    [
        ([b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ", b"a" * 100_000, b"\r\n\r\n"], {431}),
        ([b"GET /health HTTP/1.1\r\nHost: x\r\n", *[b"X-%d: %d\r\n" % (n, n) for n in range(9000)], b"\r\n"], {431}),
        ([b"GET /", b"a" * 100_000, b" HTTP/1.1\r\nHost: x\r\n\r\n"], {431}),
        # Nothing that ends: it may be cut off at any point.
        ([b"GET /health HTTP/1.1\r\nHost: x\r\n", *[b"X-Long: %s\r\n" % (b"a" * 10_000)] * 2000], {431, None}),
        ([b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ", *[b"a" * 10_000] * 2000], {431, None}),
        ([b"\r\n" * 5_000_000], {431, 400, None}),
        ([b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"], {400}),
        ([b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 99 + b"\r\n\r\n"], {400}),
        ([head(Content_Length="5", Transfer_Encoding="chunked")], {400}),
        ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], {400}),
        ([b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"], {404}),
        ([b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"], {200}),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)], {400}),
    ],
    ids=[
        "one header", "many headers", "path", "many without an end", "one without an end", "empty lines",
        "negative length", "huge length", "two lengths", "http/2", "no path", "upgrade", "tls",
    ],
)  # fmt: skip
def test_what_is_hardly_http(server: ApiServer, parts: list[bytes], statuses: set[int | None]) -> None:
    before = psutil.Process(server.pid).memory_info().rss
    answer, seconds = raw(server, *parts)
    assert (answer.status_code if answer else None) in statuses
    if answer and answer.status_code != 200:
        refused(answer, answer.status_code)
    assert seconds < SOON_S
    assert psutil.Process(server.pid).memory_info().rss - before < 10 * MB


def trickle(server: ApiServer, start: bytes) -> tuple[httpx.Response | None, float]:
    """Send a byte now and then, and give the answer and the time."""
    started, said = time.monotonic(), b""
    with socket.create_connection(server.address, timeout=SOON_S) as connection:
        connection.sendall(start)
        while not said and time.monotonic() - started < 3 * SOON_S:
            connection.sendall(b" ")
            if select.select([connection], [], [], 0.1)[0]:
                said = heard(connection)
    return parsed(said), time.monotonic() - started


def test_who_does_not_go_on_is_sent_away(server: ApiServer) -> None:
    # A thousand connections that wait for ever are all that a server can have.
    form = head(Content_Type="multipart/form-data; boundary=x", Content_Length="1000")
    coded = head(Content_Type="application/json", Content_Length="1000")
    line = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
    # One that was answered, and does not end all the same.
    answered = b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    with ThreadPoolExecutor(9) as pool:
        waiting = [
            *(pool.submit(raw, server, start, patience_s=3 * SOON_S) for start in (form, coded, line, line[:9])),
            *(pool.submit(trickle, server, start) for start in (coded, line + b"X: ")),
            pool.submit(raw, server, answered, patience_s=3 * SOON_S, to_the_end=True),
            pool.submit(raw, server, patience_s=3 * SOON_S),
        ]
        told = [one.result() for one in waiting]
    assert [answer.status_code if answer else None for answer, _ in told] == [408] * 6 + [200, None]
    for answer, _ in told[:6]:
        assert answer
        refused(answer, 408)
    assert all(0.5 < seconds < 2 + SOON_S for _, seconds in told)
