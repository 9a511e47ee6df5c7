"""ncnn files: tiny networks come back as they were written, and whatever is not such a network is refused."""
from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from patchvsr import weights
from patchvsr.errors import UserError
from patchvsr.weights import ncnn
from tests.fetching import fetched

CHAIN = """\
7767517
10 11
Input in 0 1 data
Split split 1 2 data d0 d1
Convolution c0 1 1 d1 f0 0=3 1=3 4=1 5=1 6=81
PReLU p0 1 1 f0 f1 0=3
Convolution c1 1 1 f1 f2 0=3 1=3 4=1 5=1 6=81
PReLU p1 1 1 f2 f3 0=3
Convolution c2 1 1 f3 f4 0=12 1=3 4=1 5=1 6=324
PixelShuffle shuffle 1 1 f4 f5 0=2
Interp larger 1 1 d0 e 0=1 1=2.000000e+00 2=2.000000e+00
BinaryOp add 2 1 f5 e out
"""
"""SRVGGNetCompact with one convolution between the first and the last, of 3 channels, x2."""

SHAPES = {
    "body.0.weight": (3, 3, 3, 3), "body.0.bias": (3,), "body.1.weight": (3,),
    "body.2.weight": (3, 3, 3, 3), "body.2.bias": (3,), "body.3.weight": (3,),
    "body.4.weight": (12, 3, 3, 3), "body.4.bias": (12,),
}  # fmt: skip


def random_state(shapes: dict[str, tuple[int, ...]]) -> weights.State:
    """Values that float16 holds exactly."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator).half().float() for name, shape in shapes.items()}


def blob(state: weights.State, half: Callable[[str], bool]) -> bytes:
    """The numbers of a state dict in its order: kernels behind their mark, all else as float32."""
    written = b""
    for name, value in state.items():
        if value.ndim == 1:
            written += value.numpy().astype("<f4").tobytes()
        elif half(name):
            data = value.numpy().astype("<f2").tobytes()
            written += struct.pack("<I", 0x01306B47) + data + bytes(-len(data) % 4)
        else:
            written += struct.pack("<I", 0) + value.numpy().astype("<f4").tobytes()
    return written


def written(folder: Path, graph: str, numbers: bytes) -> Path:
    (folder / "net.param").write_text(graph)
    (folder / "net.bin").write_bytes(numbers)
    return folder / "net.bin"


def chain(path: Path) -> weights.State:
    return ncnn.srvggnet(convolutions=1, channels=3, factor=2)(path)


def dense_graph(blocks: int) -> tuple[str, dict[str, tuple[int, ...]]]:
    """RRDBNet of 4 channels that grow by 2, written with a split before each use, and the shapes of its tensors."""
    lines: list[str] = ["Input in 0 1 data"]
    shapes: dict[str, tuple[int, ...]] = {}
    results = 1

    def layer(kind: str, inputs: list[str], output: str, options: str = "") -> str:
        nonlocal results
        copies = []
        for blob in inputs:  # Each use of a result is a copy of its own.
            lines.append(f"Split s{len(lines)} 1 1 {blob} {blob}_{results}")
            copies.append(f"{blob}_{results}")
            results += 1
        lines.append(f"{kind} {output} {len(copies)} 1 {' '.join(copies)} {output} {options}".rstrip())
        results += 1
        return output

    def convolution(inside: str, channels: int, name: str, outside: int = 4, leaky: bool = True) -> str:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outside, channels, 3, 3), (outside,)
        slope = " 9=2 -23310=1,2.000000e-01" if leaky else ""
        return layer("Convolution", [inside], name, f"0={outside} 1=3 4=1 5=1 6={9 * channels * outside}{slope}")

    first = block = convolution("data", 3, "conv_first", leaky=False)
    for index in range(blocks):
        dense = block
        for part in (1, 2, 3):
            name = f"body.{index}.rdb{part}"
            made = [dense, convolution(dense, 4, f"{name}.conv1", 2)]
            for step in (2, 3, 4, 5):
                joined = layer("Concat", made, f"{name}.cat{step}")
                last = step == 5
                made.append(
                    convolution(joined, 2 + 2 * step, f"{name}.conv{step}", 4 if last else 2, leaky=not last)
                )
            dense = layer("Eltwise", [made[-1], dense], f"{name}.sum", "0=1 -23301=2,2.000000e-01,1.000000e+00")
        block = layer("Eltwise", [dense, block], f"body.{index}.sum", "0=1 -23301=2,2.000000e-01,1.000000e+00")
    feature = layer("BinaryOp", [first, convolution(block, 4, "conv_body", leaky=False)], "sum")
    for name in ("conv_up1", "conv_up2"):
        larger = layer("Interp", [feature], f"{name}.larger", "0=1 1=2.000000e+00 2=2.000000e+00")
        feature = convolution(larger, 4, name)
    convolution(convolution(feature, 4, "conv_hr"), 4, "conv_last", 3, leaky=False)
    return "\n".join(["7767517", f"{len(lines)} {results}", *lines, ""]), shapes


def dense(path: Path) -> weights.State:
    return ncnn.rrdbnet(blocks=2, channels=4, growth=2)(path)


def same(found: weights.State, expected: weights.State) -> bool:
    return list(found) == list(expected) and all(
        value.dtype == torch.float32 and torch.equal(value, expected[name]) for name, value in found.items()
    )


@pytest.mark.parametrize("half", [lambda name: True, lambda name: False, lambda name: name == "body.2.weight"])
def test_a_chain_comes_back_under_basicsr_s_names(tmp_path: Path, half: Callable[[str], bool]) -> None:
    """81 numbers of float16 end inside a word of four bytes."""
    state = random_state(SHAPES)
    assert same(chain(written(tmp_path, CHAIN, blob(state, half))), state)


def test_dense_blocks_come_back_under_basicsr_s_names(tmp_path: Path) -> None:
    graph, shapes = dense_graph(blocks=2)
    state = random_state(shapes)
    found = dense(written(tmp_path, graph, blob(state, lambda name: name != "conv_last.weight")))
    assert same(found, state)
    assert "body.1.rdb3.conv5.bias" in found and len(found) == 2 * (2 * 15 + 6)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("7767517", "7767518", "starts with '7767518'"),
        ("10 11", "11 11", "has 10 of 11 layers"),
        ("10 11", "10 12", "announces 12"),
        ("10 11", "ten", "invalid literal"),
        (CHAIN, "", "not enough values"),
        ("PReLU p0 1 1 f0 f1 0=3\n", "", "has 9 of 10 layers"),
        ("BinaryOp add 2 1 f5 e out", "BinaryOp add 2 1 f5", "layer 'add' is cut short"),
        ("BinaryOp add 2 1 f5 e out", "BinaryOp add 2 1 f5 g out", "'add' takes 'g', which no layer before it"),
        ("BinaryOp add 2 1 f5 e out", "BinaryOp add 1 2 f5 e out", "layer 'add' takes 1 and makes 2"),
        ("Input in 0 1 data", "Input in 0 1 d0", "'split' takes 'data'"),
        ("1 2 data d0 d1", "1 3 data d0 d1 d1", "names 11 results, makes 12"),
        ("PReLU p1 1 1", "InnerProduct p1 1 1", "'p1' is of a kind that is not known here, InnerProduct"),
        ("f2 f3 0=3", "f2 f3 0=3 1=1", "'p1' is of a kind that is not known here, PReLU"),
        ("f1 f2 0=3 1=3", "f1 f2 0=3 1=3 8=2", r"'c1' is of a kind .* Convolution with options \[0, 1, 4, 5, 6, 8\]"),
        ("f1 f2 0=3 1=3", "f1 f2 0=3 1=3 11=1", r"'c1' is of a kind .* 11\]"),
        ("f1 f2 0=3 1=3 4=1 5=1 6=81", "f1 f2 0=3 1=3 4=1 5=1 6=80", "80 numbers are no 3 kernels of 3x3"),
        ("f1 f2 0=3 1=3 4=1 5=1 6=81", "f1 f2 0=3 1=3 4=1 5=1 6=-81", "layer 'c1' has a size of -81"),
        ("f1 f2 0=3 1=3 4=1 5=1 6=81", "f1 f2 0=3 1=3 4=1 5=1 6=108", "end after|are stored as|left over"),
        ("f2 f3 0=3", "f2 f3 0=0", "layer 'p1' has a size of 0"),
        ("f2 f3 0=3", "f2 f3 -23300=2,3", "does not hold 2 numbers"),
        ("f2 f3 0=3", "f2 f3 slopes=3", "invalid literal"),
        ("Input in", "Input é", "ascii"),
    ],
)
def test_graphs_that_do_not_fit_their_numbers_are_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert CHAIN.count(old) == 1
    path = written(tmp_path, CHAIN.replace(old, new), blob(random_state(SHAPES), lambda name: True))
    with pytest.raises(UserError, match=rf"net\.param and net\.bin are no readable ncnn network: .*{sentence}"):
        ncnn.read(path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("f3 f4 0=12", "f3 f4 0=12 3=2", "its layer 'c2' is Convolution.* 3=2.*, not Convolution"),
        ("f1 f2 0=3 1=3 4=1", "f1 f2 0=3 1=3 4=2", "its layer 'c1'"),
        ("f1 f2 0=3 1=3 4=1 5=1 6=81", "f1 f2 0=3 1=3 4=1 5=1 6=81 9=1", "its layer 'c1'"),
        ("f1 f2 0=3 1=3 4=1 5=1 6=81", "f1 f2 0=27 1=1 4=1 5=1 6=81", "left over|end after|stored as|its layer 'c1'"),
        ("f4 f5 0=2", "f4 f5 0=2 1=1", "its layer 'shuffle'"),
        ("d0 e 0=1", "d0 e 0=2", "its layer 'larger'"),
        ("1=2.000000e+00 2=2", "1=3.000000e+00 2=3", "its layer 'larger'"),
        ("2 1 f5 e out", "2 1 f5 e out 0=2", "its layer 'add'"),
        ("2 1 f5 e out", "2 1 e f5 out", "its layer 'add'"),
        ("1 1 f1 f2", "1 1 f0 f2", r"its layer 'c1' is .* of layers \[1\], not .* of layers \[2\]"),
    ],
)
def test_other_networks_are_not_taken_for_a_chain(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert CHAIN.count(old) == 1
    path = written(tmp_path, CHAIN.replace(old, new), blob(random_state(SHAPES), lambda name: False))
    with pytest.raises(UserError, match=sentence):
        chain(path)


def test_chains_of_another_length_or_width_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, CHAIN, blob(random_state(SHAPES), lambda name: False))
    with pytest.raises(UserError, match=r"net\.bin is no SRVGGNetCompact of 2 convolutions: it has 9 layers, not 11"):
        ncnn.srvggnet(convolutions=2, channels=3, factor=2)(path)
    with pytest.raises(UserError, match="its layer 'c0' is .* 0=3 .*, not .* 0=4 "):
        ncnn.srvggnet(convolutions=1, channels=4, factor=2)(path)
    with pytest.raises(UserError, match="is no RRDBNet of 2 blocks"):
        dense(path)


@pytest.mark.parametrize(
    ("old", "new", "layer"),
    [
        ("2,2.000000e-01,1.000000e+00", "2,3.000000e-01,1.000000e+00", "body.0.rdb1.sum"),
        ("-23310=1,2.000000e-01", "-23310=1,1.000000e-01", "body.0.rdb1.conv1"),
        ("0=1 1=2.000000e+00", "0=2 1=2.000000e+00", "conv_up1.larger"),
    ],
)
def test_dense_blocks_of_another_kind_are_refused(tmp_path: Path, old: str, new: str, layer: str) -> None:
    graph, shapes = dense_graph(blocks=2)
    assert old in graph
    path = written(tmp_path, graph.replace(old, new, 1), blob(random_state(shapes), lambda name: False))
    with pytest.raises(UserError, match=f"no RRDBNet of 2 blocks: its layer '{layer}'"):
        dense(path)


def test_dense_blocks_with_their_parts_in_another_order_are_refused(tmp_path: Path) -> None:
    graph, shapes = dense_graph(blocks=2)
    line = next(line for line in graph.splitlines() if line.startswith("Concat body.1.rdb2.cat3 "))
    kind, name, inputs, outputs, first, second, *rest = line.split()
    swapped = " ".join([kind, name, inputs, outputs, second, first, *rest])
    path = written(tmp_path, graph.replace(line, swapped), blob(random_state(shapes), lambda name: False))
    with pytest.raises(UserError, match="its layer 'body.1.rdb2.cat3'"):
        dense(path)


@pytest.mark.parametrize("count", [0, 3, 4, 100, -1])
def test_numbers_cut_short_are_refused(tmp_path: Path, count: int) -> None:
    path = written(tmp_path, CHAIN, blob(random_state(SHAPES), lambda name: True)[:count])
    with pytest.raises(UserError, match="the numbers end after"):
        chain(path)


@pytest.mark.parametrize("more", [1, 4])
def test_numbers_left_over_are_refused(tmp_path: Path, more: int) -> None:
    path = written(tmp_path, CHAIN, blob(random_state(SHAPES), lambda name: True) + bytes(more))
    with pytest.raises(UserError, match=f"{more} bytes are left over"):
        chain(path)


@pytest.mark.parametrize("mark", [0x000D4B38, 0x0002C056, 1])
def test_numbers_stored_in_another_way_are_refused(tmp_path: Path, mark: int) -> None:
    """ncnn's own marks of int8 and of scaled float32, and one of a table."""
    numbers = blob(random_state(SHAPES), lambda name: False)
    path = written(tmp_path, CHAIN, struct.pack("<I", mark) + numbers[4:])
    with pytest.raises(UserError, match="'c0' are stored as 0x"):
        chain(path)


def test_numbers_without_a_graph_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"put its graph net\.param beside it"):
        chain(tmp_path / "net.bin")


def test_tensors_own_their_memory(tmp_path: Path) -> None:
    state = chain(written(tmp_path, CHAIN, blob(random_state(SHAPES), lambda name: False)))
    assert len({value.untyped_storage().data_ptr() for value in state.values()}) == len(state)


def test_the_released_networks_are_fetched_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters as in the published networks, and every one of them finite."""
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path))
    for name, count in (("realesrgan-x4plus", 16_697_987), ("realesr-animevideov3", 621_424)):
        fetched(name)
        state = weights.load(name)
        assert sum(value.numel() for value in state.values()) == count
        assert all(value.dtype == torch.float32 and bool(value.isfinite().all()) for value in state.values())
