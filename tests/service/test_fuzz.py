"""Whatever is sent, by a broken program or on purpose: an answer of the described form, and a server that goes on."""

import base64
import io
import itertools
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import schemathesis
from api_server import ApiServer, api_server
from conftest import Project
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

pytestmark = pytest.mark.slow

EXAMPLES = 100
REQUESTS = 2000
MUTANTS, WARM, CONNECTIONS = 2000, 200, 6
GROWTH = 50_000_000
PATIENT = {"timeout_s": 60.0, "queue": 64}
FORMATS = ("PNG", "GIF", "WEBP", "TIFF", "JPEG", "BMP")
Generator = np.random.Generator


def encoded(pixels: np.ndarray, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


# Half of what is asked holds a picture, else all would be refused for the same reason.
PICTURES = [encoded(np.full((side, side), 9 * side, np.uint8), form) for form in FORMATS for side in (1, 8, 20)]
BYTES = st.one_of(st.sampled_from(PICTURES), st.binary(max_size=200))
schemathesis.openapi.format("binary", BYTES)
schemathesis.openapi.format("byte", BYTES.map(lambda content: base64.b64encode(content).decode()))
# A picture may be none, and a description cannot say that two lists together have at most 16 members.
NOT_DESCRIBED = [positive_data_acceptance, negative_data_rejection]


@pytest.fixture
def log_without_errors() -> Iterator[list[ApiServer]]:
    """Servers that must have met no bug of ours by the end."""
    servers: list[ApiServer] = []
    yield servers
    for server in servers:
        assert not [line for line in server.lines() if line["level"] == "error"]


@pytest.mark.parametrize("name", ["digits8", "shapes"])
def test_whatever_the_description_allows_or_forbids_is_answered_as_it_says(
    built: Project, tmp_path: Path, log_without_errors: list[ApiServer], name: str
) -> None:
    seen: Counter[tuple[str, int]] = Counter()
    with api_server(built.root / "results/bundle" / name, tmp_path, PATIENT) as server:
        log_without_errors.append(server)
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        operations = {found.ok().label: found.ok() for found in schema.get_all_operations()}
        assert set(operations) == {"GET /health", "GET /metadata", "GET /metrics", "POST /predict"}
        for label, operation in operations.items():
            # Without parameters and body there is nothing to get wrong.
            modes = GenerationMode if label == "POST /predict" else [GenerationMode.POSITIVE]
            for mode in modes:

                @settings(
                    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )  # fmt: skip
                @given(case=operation.as_strategy(generation_mode=mode))
                def conforms(case: schemathesis.Case) -> None:
                    answer = case.call_and_validate(excluded_checks=NOT_DESCRIBED, timeout=60)
                    seen[case.operation.label, answer.status_code] += 1

                conforms()
    print(dict(seen))
    assert seen["POST /predict", 200] >= 5 and seen["POST /predict", 422] >= 5


def bases(generator: Generator) -> dict[str, list[bytes]]:
    """Whole pictures of every format, smooth and noisy, grey and in colour."""
    found: dict[str, list[bytes]] = {}
    for form, side in itertools.product(FORMATS, (3, 16, 70)):
        noise = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
        flat = np.broadcast_to(np.arange(side, dtype=np.uint8)[:, np.newaxis], (side, side)).copy()
        found.setdefault(form, []).extend([encoded(noise, form), encoded(flat, form)])
    return found


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bombs() -> list[bytes]:
    """Small files that want much: by what their header says, by what they unpack to, or by how often."""
    tiny = {form: encoded(np.zeros((8, 8), np.uint8), form) for form in FORMATS}

    def changed(form: str, layout: str, position: int, *values: int) -> bytes:
        content = bytearray(tiny[form])
        struct.pack_into(layout, content, position, *values)
        return bytes(content)

    jpeg = tiny["JPEG"].index(b"\xff\xc0")
    frame = tiny["GIF"].index(b"\x2c\0\0\0\0")
    width = tiny["TIFF"].index(struct.pack("<HHI", 256, 4, 1)) if tiny["TIFF"][:2] == b"II" else 0
    large = [
        # What the header says.
        changed("PNG", ">II", 16, 2**31 - 1, 2**31 - 1),
        changed("PNG", ">II", 16, 9_000, 9_000),
        changed("GIF", "<HH", 6, 65_535, 65_535),
        changed("GIF", "<HH", frame + 5, 65_535, 65_535),
        changed("BMP", "<ii", 18, 2**31 - 1, 2**31 - 1),
        changed("BMP", "<ii", 18, 9_000, -9_000),
        changed("JPEG", ">HH", jpeg + 5, 65_535, 65_535),
        changed("TIFF", "<I", width + 8, 2**31 - 1) if width else b"",
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff",
        b"P5 99999 99999 255\n",
    ]
    black = np.zeros((2500, 2500), np.uint8)
    # What it unpacks to, within the limit.
    large += [encoded(black, form) for form in FORMATS if form != "BMP"]
    large.append(encoded(black, "TIFF", compression="tiff_deflate"))
    text = zlib.compress(bytes(40_000_000))
    end = tiny["PNG"].index(b"IDAT") - 4
    for kind, begin in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")):
        large.append(tiny["PNG"][:end] + chunk(kind, begin + text) + tiny["PNG"][end:])
    many = PngImagePlugin.PngInfo()
    for number in range(2000):
        many.add_text(str(number), "x")
    large.append(encoded(np.zeros((8, 8), np.uint8), "PNG", pnginfo=many))
    frames = [Image.fromarray(np.full((64, 64), number, np.uint8)) for number in range(200)]
    for form in ("GIF", "PNG", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
        large.append(buffer.getvalue())
    return large


def flip(content: bytearray, generator: Generator) -> bytes:
    for position in generator.integers(len(content), size=generator.integers(1, 40)):
        content[position] ^= 1 << generator.integers(8)
    return bytes(content)


def cut(content: bytearray, generator: Generator) -> bytes:
    return bytes(content[: generator.integers(len(content))])


def swap(content: bytearray, generator: Generator) -> bytes:
    first, second, third = sorted(generator.integers(len(content) + 1, size=3))
    return bytes(content[:first] + content[second:third] + content[first:second] + content[third:])


def repeat(content: bytearray, generator: Generator) -> bytes:
    first, second = sorted(generator.integers(len(content) + 1, size=2))
    return bytes(content[:second] + content[first:second] * generator.integers(1, 9) + content[second:])


def extreme(content: bytearray, generator: Generator) -> bytes:
    """Fill a few bytes near the begin, where sizes and offsets stand."""
    for position in generator.integers(4, max(5, min(len(content), 80)), size=generator.integers(1, 4)):
        content[position : position + 4] = generator.choice([b"\xff", b"\0", b"\x7f\xff\xff\xff", b"\x80"])
    return bytes(content)


def another_type(content: bytearray, generator: Generator) -> bytes:
    starts = [
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\xff\xff\xff\xffWEBP",
        b"II*\0",
        b"MM\0*",
        b"\xff\xd8\xff\xe0",
        b"BM",
    ]
    starts += [b"8BPS\0\1", b"\0\0\1\0", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0\0\0\x0cjP  ", b"P6 8 8 255\n", b"SIMPLE  ="]
    return bytes(starts[generator.integers(len(starts))] + content[generator.integers(12) :])


def no_picture(content: bytearray, generator: Generator) -> bytes:
    return generator.bytes(generator.integers(0, 5000))


MUTATIONS: list[Callable[[bytearray, Generator], bytes]] = [flip, cut, swap, repeat, extreme, another_type, no_picture]


def mutants(count: int) -> list[bytes]:
    """The same ones every time; each bomb is among the first two hundred, and again later."""
    generator = np.random.default_rng(0)
    whole, large = bases(generator), bombs()
    made = []
    for number in range(count):
        if number % 8 == 0:
            made.append(large[number // 8 % len(large)])
        else:
            form = FORMATS[number % len(FORMATS)]
            content = bytearray(whole[form][generator.integers(len(whole[form]))])
            made.append(MUTATIONS[generator.integers(len(MUTATIONS))](content, generator))
    return made


def test_no_picture_brings_it_down_or_stays_in_its_memory(
    built: Project, tmp_path: Path, log_without_errors: list[ApiServer]
) -> None:
    sent = mutants(MUTANTS)
    started = time.monotonic()
    with api_server(built.root / "results/bundle/digits8", tmp_path, PATIENT) as server:
        log_without_errors.append(server)
        process = psutil.Process(server.pid)

        def ask(part: list[bytes]) -> list[int]:
            with server.client() as client:
                return [status_of(client, content) for content in part]

        def ask_all(contents: list[bytes]) -> Counter[int]:
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                parts = [contents[number::CONNECTIONS] for number in range(CONNECTIONS)]
                return Counter(itertools.chain(*pool.map(ask, parts)))

        warm_up = ask_all(sent[:WARM])
        before = process.memory_info().rss
        statuses = ask_all(sent[WARM:])
        after = process.memory_info().rss
        assert server.process.poll() is None
        with server.client() as client:
            assert status_of(client, PICTURES[1]) == 200
    print(f"{statuses} after {warm_up}, {before / 1e6:.0f} to {after / 1e6:.0f} MB, {time.monotonic() - started:.0f} s")
    assert set(statuses | warm_up) == {200, 413, 415, 422}
    assert min(statuses[status] for status in (200, 415, 422)) > 100
    assert after - before < GROWTH


def test_no_request_that_was_damaged_on_its_way_brings_it_down(
    built: Project, tmp_path: Path, log_without_errors: list[ApiServer]
) -> None:
    # Here the form and the JSON around the picture are what is broken, and the header that names them.
    generator = np.random.default_rng(0)
    form = "multipart/form-data; boundary=xyz; charset=utf-8"
    part = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    bodies = [(form, part + PICTURES[1] + b"\r\n" + part + PICTURES[2] + b"\r\n--xyz--\r\n")]
    instance = b'{"data": {"b64": "%s"}}' % base64.b64encode(PICTURES[1])
    bodies.append(("application/json", b'{"instances": [%s, %s]}' % (instance, instance)))
    seen: Counter[int] = Counter()
    with api_server(built.root / "results/bundle/digits8", tmp_path, PATIENT) as server:
        log_without_errors.append(server)
        with server.client() as client:
            for number in range(REQUESTS):
                kind, body = bodies[number % 2]
                if number % 8 > 5:
                    kind = "".join(map(chr, flip(bytearray(kind.encode()), generator)))
                    kind = "".join(letter for letter in kind if letter.isprintable() and letter.isascii()).strip()
                else:
                    body = MUTATIONS[generator.integers(len(MUTATIONS))](bytearray(body), generator)
                answer = client.post("/predict", content=body, headers={"Content-Type": kind})
                assert (answer.status_code == 200) == ("predictions" in answer.json())
                seen[answer.status_code] += 1
    print(seen)
    assert set(seen) <= {200, 400, 413, 415, 422} and len(seen) >= 4


def status_of(client: httpx.Client, content: bytes) -> int:
    answer = client.post("/predict", files={"file": ("a.png", content)})
    assert (answer.status_code == 200) == ("predictions" in answer.json())
    return answer.status_code
