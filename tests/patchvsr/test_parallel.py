"""Two processes share the tiles of one clip: the same bytes as one, and no process is left waiting."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from patchvsr.cli import main
from patchvsr.errors import UserError
from patchvsr.parallel import SINGLE, Group, launched, local_device
from patchvsr.upscaler import create

START = """
import hashlib, os, sys, torch
from patchvsr.errors import UserError
from patchvsr.method import PatchVSR
from patchvsr.parallel import SINGLE, ProcessGroup
from patchvsr.upscaler import Clip
from patchvsr.variants import resolve

torch.set_num_threads(1)
def join():
    return ProcessGroup.join(torch.device("cpu"), seconds=60)

clip = Clip("c", torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(3)))

def load(text):
    return PatchVSR.load(resolve(text), torch.device("cpu"), torch.float32)

def digest(upscaler):
    frames = torch.cat(list(upscaler.upscale(clip, 4)))
    return hashlib.sha256(frames.numpy().tobytes()).hexdigest()
"""


def both(code: str) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of two processes that run `code`."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START + code],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=200) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


VARIANTS = [
    "full:tile=32", "shifted:tile=32", "average:tile=32,cache=off", "full:tile=32,position=box", "full:base=wan-tiny",
]  # fmt: skip


def test_two_processes_give_the_bytes_of_one() -> None:
    found = both(f"""
group = join()
for text in {VARIANTS}:
    upscaler = load(text)
    alone = digest(upscaler)
    upscaler.share(group, dict())
    together = digest(upscaler)
    print(text, alone == together, upscaler.sampler.group.size)
group.close()
""")
    for code, out, error in found:
        assert code == 0, error
        assert out.splitlines() == [f"{text} True 2" for text in VARIANTS]


def test_two_processes_decode_together() -> None:
    found = both("""
from patchvsr.codec import WanCodec
from patchvsr.codec.taehv import AutoencoderTinyHV
from patchvsr.codec.tiny import TinyWanCodec
from diffusers import AutoencoderKLWan

group = join()
torch.manual_seed(0)
vae = AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval()
tiny = AutoencoderTinyHV(encoder_width=8, decoder_widths=(16, 8, 8, 8)).eval()
latents = torch.randn(16, 2, 44, 50, generator=torch.Generator().manual_seed(1))
for codec in (WanCodec(vae, tile=128, overlap=32), TinyWanCodec(tiny, tile=312)):
    alone = codec.decode(latents)
    codec.group = group
    print(torch.equal(codec.decode(latents), alone))
""")
    for code, out, error in found:
        assert code == 0, error
        assert out.split() == ["True", "True"]


def test_processes_that_disagree_are_told_in_what() -> None:
    found = both("""
group = join()
try:
    load("full:tile=32" if group.rank == 0 else "full:tile=64").share(group, dict())
except UserError as error:
    print(error)
""")
    for code, out, error in found:
        assert code == 0, error
        assert "do not agree on spec" in out and "'tile': 64" in out


@pytest.mark.parametrize("end", ["raise RuntimeError('no memory')", "os._exit(3)"])
def test_a_process_that_fails_or_dies_leaves_nobody_waiting(end: str) -> None:
    found = both(f"""
group = join()
upscaler = load("full:tile=32")
upscaler.share(group, dict())
def velocity(*given):
    {end}
if group.rank == 1:
    upscaler.model.velocity = velocity
try:
    digest(upscaler)
except UserError as error:
    print(error)
    group.close()
    sys.exit(2)
""")
    assert found[0][0] == 2, found[0][2]
    words = "process 1 of 2 failed" if "raise" in end else "a process of this run is gone"
    assert words in found[0][1]
    assert found[1][0] == (1 if "raise" in end else 3)


def test_upscaling_a_video_in_two_processes_gives_the_frames_of_one(tmp_path: Path) -> None:
    images = tmp_path / "in"
    images.mkdir()
    noise = torch.randint(0, 256, (2, 24, 20, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for index, frame in enumerate(noise.numpy()):
        Image.fromarray(frame).save(images / f"{index}.png")
    command = ["upscale", str(images), "{out}", "--variant", "full:tile=32", "--dtype", "float32"]
    found = both(f"""
from patchvsr.cli import main
sys.exit(main([part.format(out={str(tmp_path / "both")!r}) for part in {command!r}]))
""")
    for code, _, error in found:
        assert code == 0, error
    assert "2 frames" in found[0][2] and not found[1][2].strip()
    alone = [part.format(out=str(tmp_path / "alone")) for part in command]
    assert main(alone) == 0
    for name in ("00000000.png", "00000001.png"):
        assert (tmp_path / "both" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_baselines_stay_in_one_process() -> None:
    class Two(Group):
        size = 2

    with pytest.raises(UserError, match="'bicubic' works in one process; start it without torchrun"):
        create("bicubic", torch.device("cpu"), torch.float32).share(Two(), {})


def test_a_process_alone_makes_everything_itself() -> None:
    assert [(i, t.item()) for i, t in SINGLE.each(3, lambda index: torch.tensor(index))] == [(0, 0), (1, 1), (2, 2)]
    assert SINGLE.shared("a") == "a"
    assert not launched() and local_device(torch.device("cpu")).type == "cpu"


@pytest.fixture(autouse=True)
def not_launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    yield
