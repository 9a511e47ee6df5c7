"""Weights from the hub: through a stand-in server, and how soon a machine without a network is told."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import huggingface_hub
import pytest
import torch

from patchvsr import weights
from patchvsr.errors import UserError
from patchvsr.weights import hub


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The hub's own cache is empty, offline mode is not set, and no proxy is used for this machine."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return monkeypatch


@pytest.fixture
def server(checkpoint: Path) -> Iterator[str]:
    """A hub whose only file is that of `hubtoy`."""
    data = checkpoint.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            known = unquote(self.path) == f"/toys/weights/resolve/main/{checkpoint.name}"
            self.send_response(200 if known else 404)
            self.send_header("ETag", f'"{sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("Content-Length", str(len(data) if known else 0))
            self.end_headers()
            if known and self.command == "GET":
                self.wfile.write(data)

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}"
    finally:
        made.shutdown()
        made.server_close()


FETCH = """
import sys
from patchvsr import weights
_, file, digits, name = sys.argv
weights.KNOWN["hubtoy"] = weights.Hub(
    repository="toys/weights", file=file, file_sha256=digits, convert=weights.read_state_dict, sha256=None,
    licence="CC0", purpose="tests",
)
print(weights.fetch("hubtoy"))
"""


def fetch_from(server: str, cache: Path, file: str, digits: str) -> subprocess.CompletedProcess[str]:
    """Fetch `hubtoy` in a process of its own, since the hub client reads the environment when it is imported."""
    settings = {"HF_ENDPOINT": server, "HF_HUB_OFFLINE": "0", "HF_HOME": str(cache / "hf"), "NO_PROXY": "127.0.0.1"}
    environment = {key: value for key, value in os.environ.items() if key != "TRANSFORMERS_OFFLINE"} | settings
    command = [sys.executable, "-c", FETCH, file, digits, "hubtoy"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_file_is_fetched_checked_and_kept_as_safetensors(server: str, hubtoy: weights.Hub, cache: Path) -> None:
    done = fetch_from(server, cache, hubtoy.file, hubtoy.file_sha256)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(weights.path_of("hubtoy"))]
    state = weights.load("hubtoy")  # in this process, which knows only the first digits of the original's hash
    assert torch.equal(state["a"], torch.arange(4.0)) and state["b"].dtype == torch.float16
    assert weights.sha256_of("hubtoy") == weights.tensors_sha256(state)
    assert [path.name for path in weights.path_of("hubtoy").parent.iterdir()] == ["hubtoy.safetensors"]


def test_another_file_on_the_hub_is_refused(server: str, hubtoy: weights.Hub, cache: Path) -> None:
    done = fetch_from(server, cache, hubtoy.file, "0" * 8)
    assert done.returncode != 0 and "expected one that starts with 00000000; not used" in done.stderr
    assert not weights.present("hubtoy")


def test_a_file_that_the_hub_lacks_is_one_sentence(server: str, hubtoy: weights.Hub, cache: Path) -> None:
    done = fetch_from(server, cache, "none.pth", hubtoy.file_sha256)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "could not be fetched" in last and "--from FILE" in last


def test_no_hub_to_reach_is_told_at_once(hubtoy: weights.Hub, online: pytest.MonkeyPatch) -> None:
    online.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(UserError, match="127.0.0.1:9 cannot be reached.*weights fetch hubtoy --from FILE") as caught:
        weights.fetch("hubtoy")
    assert time.monotonic() - start < 15  # the hub's client alone takes longer
    assert "\n" not in str(caught.value)


def test_a_hub_that_never_answers_is_given_up(hubtoy: weights.Hub, online: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        online.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        assert not hub.reachable(0.5)
        assert time.monotonic() - start < 10


def test_offline_mode_is_respected_without_a_request(hubtoy: weights.Hub, online: pytest.MonkeyPatch) -> None:
    def reachable(seconds: float) -> bool:
        raise AssertionError("asked the network")

    online.setattr(hub, "reachable", reachable)
    online.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE.*`patchvsr weights fetch hubtoy --from FILE`"):
        weights.fetch("hubtoy")


def test_what_the_hub_s_own_cache_holds_is_taken_even_offline(
    hubtoy: weights.Hub, checkpoint: Path, online: pytest.MonkeyPatch
) -> None:
    online.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    snapshot = Path(huggingface_hub.constants.HF_HUB_CACHE) / "models--toys--weights" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / hubtoy.file).write_bytes(checkpoint.read_bytes())
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    weights.fetch("hubtoy")
    assert torch.equal(weights.load("hubtoy")["a"], torch.arange(4.0))
    assert (snapshot / hubtoy.file).is_file()


def test_failures_of_the_hub_are_one_sentence(hubtoy: weights.Hub, online: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise RuntimeError("429 Too Many Requests\nwith a long tail")

    online.setattr(hub, "reachable", lambda seconds: True)
    online.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(UserError, match=r"could not be fetched \(429 Too Many Requests\); try again later") as caught:
        weights.fetch("hubtoy")
    assert "\n" not in str(caught.value)


def test_listing_asks_no_network(online: pytest.MonkeyPatch, cache: Path) -> None:
    def ask(*_: object, **__: object) -> None:
        raise AssertionError("asked the network")

    online.setattr(socket.socket, "connect", ask)
    online.setattr(socket, "getaddrinfo", ask)
    assert {status.name for status in weights.status() if status.kind == "hub"} >= {"musiq", "clipiqa"}
