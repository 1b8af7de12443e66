"""Who may ask, and how often."""

import hashlib
import io
import time
from pathlib import Path

from api_server import api_server, refused
from conftest import Project
from PIL import Image

from imagewright.serve.guard import KEYS

DIGITS = "results/bundle/digits8"


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_key_opens_and_nothing_else(built: Project, tmp_path: Path) -> None:
    keys = ["first key", "second-key/+="]
    hashes = ",".join(hashlib.sha256(key.encode()).hexdigest() for key in keys)
    files = {"file": picture()}
    with (
        api_server(built.root / DIGITS, tmp_path, {"rate_limit": "5/minute"}, **{KEYS: hashes}) as server,
        server.client() as client,
    ):
        for headers in (
            {}, {"X-API-Key": "third"}, {"X-API-Key": ""}, {"X-API-Key": hashes[:64]}, {"Authorization": keys[0]},
            {"Authorization": f"Basic {keys[0]}"}, {"Authorization": "Bearer"}, {"X-API-Key": "\xe9".encode("latin-1")},
        ):  # fmt: skip
            answer = client.post("/predict", files=files, headers=headers)
            refused(answer, 401, "X-API-Key")
            assert answer.headers["www-authenticate"] == "Bearer"
            refused(client.get("/metadata", headers=headers), 401)
        # A load balancer and Prometheus have no key.
        assert [client.get(path).status_code for path in ("/health", "/metrics")] == [200, 200]
        # Whoever was refused has not used up what the first key may ask.
        for headers in (
            {"X-API-Key": keys[0]},
            {"Authorization": f"Bearer {keys[0]}"},
            {"Authorization": f"bearer {keys[0]}"},
        ):
            assert client.post("/predict", files=files, headers=headers).status_code == 200
        for _ in range(2):
            assert client.get("/metadata", headers={"X-API-Key": keys[0]}).status_code == 200
        answer = client.post("/predict", files=files, headers={"X-API-Key": keys[0]})
        refused(answer, 429, "5 per 1 minute")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        # One client's haste is not another's.
        assert client.post("/predict", files=files, headers={"X-API-Key": keys[1]}).status_code == 200
        assert not any(key in server.log.read_text() for key in [*keys, hashes[:64]])


def test_without_keys_addresses_have_their_rate(built: Project, tmp_path: Path) -> None:
    with api_server(built.root / DIGITS, tmp_path, {"rate_limit": "2/second"}) as server, server.client() as client:
        said = [client.post("/predict", files={"file": picture()}) for _ in range(6)]
        assert [answer.status_code for answer in said[:2]] == [200, 200]
        late = [answer for answer in said if answer.status_code != 200]
        assert late and all(refused(answer, 429) for answer in late)
        # A header that anybody can write makes nobody a new client.
        said = [
            client.post("/predict", files={"file": picture()}, headers={"X-Forwarded-For": f"10.0.0.{n}"})
            for n in range(6)
        ]
        assert 429 in [answer.status_code for answer in said]
        time.sleep(int(late[0].headers["retry-after"]) + 0.2)
        assert client.post("/predict", files={"file": picture()}).status_code == 200
