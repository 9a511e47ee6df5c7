"""Weights that only the user can bring: released files, and checkpoints of the user's own."""
from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from patchvsr import weights
from patchvsr.cli import main
from patchvsr.errors import UserError
from patchvsr.weights.files import provenance
from patchvsr.weights.user import Brought, load_own


@pytest.fixture
def brought(cache: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Brought:
    """A row `brought` for the file `checkpoint`, and an empty cache."""
    source = Brought(
        file=checkpoint.name,
        file_sha256=weights.sha256_file(checkpoint),
        convert=weights.read_state_dict,
        sha256=None,
        licence="CC0",
        purpose="tests",
        published="https://example.org/toy-checkpoint.pth",
        otherwise="any other file is used by `toy:weights=FILE`",
    )
    monkeypatch.setitem(weights.KNOWN, "brought", source)
    return source


def test_it_is_not_downloaded_and_says_where_it_is_published(
    brought: Brought, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "fetch", "brought"]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "'brought' are not in the cache and cannot be downloaded by this command" in sentence
    assert "get toy-checkpoint.pth at https://example.org/toy-checkpoint.pth and run" in sentence
    assert "`patchvsr weights fetch brought --from FILE`" in sentence
    assert not weights.present("brought")


def test_the_user_s_file_is_checked_converted_and_listed(
    brought: Brought, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "fetch", "brought", "--from", str(checkpoint)]) == 0
    checkpoint.unlink()
    assert torch.equal(weights.load("brought")["a"], torch.arange(4.0))
    kept = provenance(weights.path_of("brought"))
    assert kept["kind"] == "user" and kept["file_sha256"] == brought.file_sha256
    assert kept["published"] == brought.published
    capsys.readouterr()
    assert main(["weights"]) == 0
    lines = {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert "user CC0 tests; from https://example.org/toy-checkpoint.pth" in lines["brought"]


def test_another_file_is_refused_with_what_to_do_with_it(
    brought: Brought, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.zeros(4)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=rf"other\.pth is not the .*{brought.file_sha256}; not used; any other file is"):
        weights.fetch("brought", tmp_path / "other.pth")
    monkeypatch.setitem(weights.KNOWN, "brought", replace(brought, otherwise=""))
    with pytest.raises(UserError, match="; not used$"):
        weights.fetch("brought", tmp_path / "other.pth")
    assert not weights.present("brought")


class Counting:
    """A converter that knows how often it was used."""

    def __init__(self) -> None:
        self.used = 0

    def __call__(self, path: Path) -> weights.State:
        self.used += 1
        return weights.read_state_dict(path)


def kept_in(cache: Path) -> list[Path]:
    return sorted((cache / "weights" / "own").glob("*"))


def test_an_own_file_is_converted_once_and_known_by_its_hash(cache: Path, checkpoint: Path) -> None:
    convert = Counting()
    for _ in range(2):
        state, sha256 = load_own(checkpoint, "toy", convert)
        assert torch.equal(state["a"], torch.arange(4.0)) and state["b"].dtype == torch.float16
        assert sha256 == weights.sha256_file(checkpoint)
    assert convert.used == 1
    (kept,) = kept_in(cache)
    assert kept.name == f"toy-{sha256}.safetensors"
    assert provenance(kept) == {
        "kind": "user",
        "name": "toy",
        "file": checkpoint.name,
        "file_sha256": sha256,
        "sha256": weights.tensors_sha256(state),
    }


def test_a_file_that_changed_and_one_of_another_family_are_converted_anew(cache: Path, checkpoint: Path) -> None:
    convert = Counting()
    load_own(checkpoint, "toy", convert)
    load_own(checkpoint, "other", convert)
    torch.save({"a": torch.zeros(4)}, checkpoint)
    state, _ = load_own(checkpoint, "toy", convert)
    assert convert.used == 3 and len(kept_in(cache)) == 3
    assert torch.equal(state["a"], torch.zeros(4))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "swap"])
def test_a_damaged_copy_is_made_anew(cache: Path, checkpoint: Path, damage: str) -> None:
    convert = Counting()
    load_own(checkpoint, "toy", convert)
    (kept,) = kept_in(cache)
    whole = kept.read_bytes()
    if damage == "swap":  # the copy of another file under this one's name
        torch.save({"a": torch.zeros(4)}, checkpoint.with_name("other.pth"))
        load_own(checkpoint.with_name("other.pth"), "toy", weights.read_state_dict)
        (other,) = set(kept_in(cache)) - {kept}
        other.replace(kept)
    else:
        flipped = whole[:-1] + bytes([whole[-1] ^ 1])
        kept.write_bytes({"flip": flipped, "truncate": whole[:-3], "empty": b""}[damage])
    state, _ = load_own(checkpoint, "toy", convert)
    assert convert.used == 2 and torch.equal(state["a"], torch.arange(4.0))
    assert load_file(kept).keys() == {"a", "b"}
    assert kept.read_bytes() == whole


def test_what_does_not_fit_is_not_kept(cache: Path, checkpoint: Path) -> None:
    def refuse(path: Path) -> weights.State:
        raise UserError("does not fit")

    with pytest.raises(UserError, match="does not fit"):
        load_own(checkpoint, "toy", refuse)
    assert kept_in(cache) == []


def test_files_that_cannot_be_read_are_a_sentence(
    cache: Path, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=rf"weights file {tmp_path}/none\.pth does not exist; give the path"):
        load_own(tmp_path / "none.pth", "toy", weights.read_state_dict)
    with pytest.raises(UserError, match=f"weights file {tmp_path} is a folder; give the path of a checkpoint"):
        load_own(tmp_path, "toy", weights.read_state_dict)
    with pytest.raises(UserError, match="cannot be read: Not a directory"):
        load_own(checkpoint / "x.pth", "toy", weights.read_state_dict)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_own(Path("~") / checkpoint.name, "toy", weights.read_state_dict)[0].keys() == {"a", "b"}


def test_a_cache_that_cannot_be_written_to(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"toy-checkpoint\.pth cannot be kept in .*set PATCHVSR_CACHE"):
        load_own(checkpoint, "toy", weights.read_state_dict)


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_who_may_read_the_copy_is_up_to_the_umask(cache: Path, checkpoint: Path) -> None:
    before = os.umask(0o022)
    try:
        load_own(checkpoint, "toy", weights.read_state_dict)
    finally:
        os.umask(before)
    assert kept_in(cache)[0].stat().st_mode & 0o777 == 0o644
