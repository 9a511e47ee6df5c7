"""ncnn networks: the text graph (`NAME.param`) and the numbers beside it (`NAME.bin`), read to the last byte.

A graph is a list of layers in the order in which they run, which is also the order of their numbers. The converters
compare it layer by layer with the one that an architecture makes, so that no other network is taken for it, and name
the tensors as BasicSR does.
"""
from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from patchvsr.errors import UserError
from patchvsr.weights.files import State

MAGIC = "7767517"
FLOAT32, FLOAT16 = 0, 0x01306B47
"""Marks in front of a convolution's kernel: how its numbers are stored."""

ARRAY = -23300
"""Keys from here down are of options that hold several numbers."""

Value = int | float | tuple[float, ...]

CONVOLUTION = {"outside": 0, "kernel": 1, "dilation": 2, "stride": 3, "padding": 4, "bias": 5, "size": 6,
               "activation": 9, "slope": 10}  # fmt: skip
"""Keys of a convolution's options that do not change how its numbers are stored. Others do, or may."""

WEIGHTLESS = {"Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle"}
LEAKY = 2
NEAREST, SUM = 1, 1


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a graph, without the splits that only copy.

    Attributes:
        kind: as ncnn calls it.
        inputs: the layers whose results it takes, as positions in the list.
        options: by ncnn's keys.
        name: in the file, or in the state dict for layers that an architecture makes.
        channels: of its result, for layers that an architecture makes.
        tensors: `weight` and `bias`, float32, for layers that were read.
    """

    kind: str
    inputs: tuple[int, ...]
    options: dict[int, Value]
    name: str = ""
    channels: int = 0
    tensors: State = field(default_factory=dict)

    def __str__(self) -> str:
        options = "".join(f" {key}={value}" for key, value in self.options.items())
        return f"{self.kind}{options} of layers {list(self.inputs)}"


def read(path: Path) -> list[Layer]:
    """The layers of the network whose numbers are in `path`, and whose graph is beside it as `.param`.

    Raises:
        UserError: a file is missing or damaged, they do not belong together, or there is a kind of layer or of storage
            whose numbers cannot be read.
    """
    graph = path.with_suffix(".param")
    if not graph.is_file():
        raise UserError(f"{path.name} holds only the numbers of a network; put its graph {graph.name} beside it")
    try:
        numbers = _Numbers(path.read_bytes())
        layers = _connected(graph.read_text(encoding="ascii"), numbers)
        numbers.end()
        return layers
    except (OSError, ValueError) as error:
        raise UserError(f"{graph.name} and {path.name} are no readable ncnn network: {error}") from error


def rrdbnet(blocks: int = 23, channels: int = 64, growth: int = 32) -> Callable[[Path], State]:
    """Converter of RRDBNet (Wang et al., "ESRGAN", 2018; x4) to BasicSR's state dict.

    Args:
        blocks: residual-in-residual dense blocks.
        channels: of the features.
        growth: channels that each convolution of a dense block adds.

    The converter raises UserError for files that hold another network or are damaged.
    """
    graph = _Graph()
    first = block = graph.convolution(0, channels, "conv_first")
    for index in range(blocks):
        dense = block
        for part in (1, 2, 3):
            made = [dense]
            for step in (1, 2, 3, 4, 5):
                inside = graph.concatenated(made) if step > 1 else dense
                name = f"body.{index}.rdb{part}.conv{step}"
                made.append(graph.convolution(inside, growth if step < 5 else channels, name, leaky=step < 5))
            dense = graph.residual(made[-1], dense)
        block = graph.residual(dense, block)
    feature = graph.added(first, graph.convolution(block, channels, "conv_body"))
    for name in ("conv_up1", "conv_up2"):
        feature = graph.convolution(graph.enlarged(feature, 2), channels, name, leaky=True)
    graph.convolution(graph.convolution(feature, channels, "conv_hr", leaky=True), 3, "conv_last")
    return _converter(graph, f"RRDBNet of {blocks} blocks")


def srvggnet(convolutions: int = 16, channels: int = 64, factor: int = 4) -> Callable[[Path], State]:
    """Converter of SRVGGNetCompact (Wang et al., "Real-ESRGAN", 2021) to BasicSR's state dict.

    Args:
        convolutions: between the first and the last.
        channels: of the features.
        factor: of the enlargement.

    The converter raises UserError for files that hold another network or are damaged.
    """
    graph = _Graph()
    feature = 0
    for index in range(convolutions + 1):
        feature = graph.convolution(feature, channels, f"body.{2 * index}")
        feature = graph.add("PReLU", [feature], {0: channels}, channels, f"body.{2 * index + 1}")
    last = graph.convolution(feature, 3 * factor**2, f"body.{2 * convolutions + 2}")
    graph.added(graph.add("PixelShuffle", [last], {0: factor}, 3), graph.enlarged(0, factor))
    return _converter(graph, f"SRVGGNetCompact of {convolutions} convolutions")


class _Graph:
    """The layers that an architecture makes, from an RGB input; layers are known by their position."""

    def __init__(self) -> None:
        self.layers = [Layer("Input", (), {}, channels=3)]

    def add(self, kind: str, inputs: list[int], options: dict[int, Value], channels: int, name: str = "") -> int:
        self.layers.append(Layer(kind, tuple(inputs), options, name, channels))
        return len(self.layers) - 1

    def convolution(self, inside: int, outside: int, name: str, leaky: bool = False) -> int:
        """3x3 with bias, and a leaky ReLU of slope 0.2 upon it."""
        size = 9 * outside * self.layers[inside].channels
        told: dict[str, Value] = {"outside": outside, "kernel": 3, "padding": 1, "bias": 1, "size": size}
        if leaky:
            told |= {"activation": LEAKY, "slope": (0.2,)}
        return self.add("Convolution", [inside], {CONVOLUTION[key]: told[key] for key in told}, outside, name)

    def concatenated(self, parts: list[int]) -> int:
        return self.add("Concat", parts, {}, sum(self.layers[part].channels for part in parts))

    def residual(self, change: int, identity: int) -> int:
        """A fifth of a change upon the identity."""
        return self.add("Eltwise", [change, identity], {0: SUM, 1: (0.2, 1.0)}, self.layers[identity].channels)

    def added(self, first: int, second: int) -> int:
        return self.add("BinaryOp", [first, second], {}, self.layers[first].channels)

    def enlarged(self, inside: int, factor: int) -> int:
        return self.add("Interp", [inside], {0: NEAREST, 1: factor, 2: factor}, self.layers[inside].channels)


def _converter(graph: _Graph, network: str) -> Callable[[Path], State]:
    def convert(path: Path) -> State:
        found = read(path)
        if len(found) != len(graph.layers):
            raise UserError(f"{path.name} is no {network}: it has {len(found)} layers, not {len(graph.layers)}")
        state: State = {}
        for layer, expected in zip(found, graph.layers, strict=True):
            if (layer.kind, layer.inputs, layer.options) != (expected.kind, expected.inputs, expected.options):
                raise UserError(f"{path.name} is no {network}: its layer '{layer.name}' is {layer}, not {expected}")
            state |= {f"{expected.name}.{part}": tensor for part, tensor in layer.tensors.items()}
        return state

    return convert


def _connected(text: str, numbers: _Numbers) -> list[Layer]:
    """The layers of a graph, with their numbers."""
    magic, header, *lines = text.rstrip().splitlines()
    layer_count, blob_count = (int(word) for word in header.split())
    if magic.strip() != MAGIC or layer_count != len(lines):
        raise ValueError(f"the graph starts with {magic!r} and has {len(lines)} of {layer_count} layers")
    made: dict[str, int] = {}  # by the name of a result, the layer that it comes from
    results = 0
    layers: list[Layer] = []
    for line in lines:
        kind, name, inputs, outputs, options = _parsed(line)
        if absent := [blob for blob in inputs if blob not in made]:
            raise ValueError(f"layer '{name}' takes '{absent[0]}', which no layer before it makes")
        sources = tuple(made[blob] for blob in inputs)
        copies = kind == "Split"
        if len(sources) != 1 if copies else len(outputs) != 1:
            raise ValueError(f"layer '{name}' takes {len(inputs)} and makes {len(outputs)}")
        made |= {blob: sources[0] if copies else len(layers) for blob in outputs}
        results += len(outputs)
        if not copies:
            layers.append(Layer(kind, sources, options, name, tensors=_tensors(kind, name, options, numbers)))
    if not len(made) == results == blob_count:
        raise ValueError(f"the graph names {len(made)} results, makes {results} and announces {blob_count}")
    return layers


def _parsed(line: str) -> tuple[str, str, list[str], list[str], dict[int, Value]]:
    """Kind, name, inputs, outputs and options of a layer."""
    kind, name, inputs, outputs, *rest = line.split()
    first, last = int(inputs), int(inputs) + int(outputs)
    if not 0 <= first <= last <= len(rest):
        raise ValueError(f"layer '{name}' is cut short")
    options: dict[int, Value] = {}
    for word in rest[last:]:
        key, _, value = word.partition("=")
        index: int = int(key)
        if index <= ARRAY:
            index = ARRAY - index
            count, *values = value.split(",")
            if int(count) != len(values):
                raise ValueError(f"'{word}' of layer '{name}' does not hold {count} numbers")
            options[index] = tuple(float(one) for one in values)
        else:
            options[index] = float(value) if "." in value or "e" in value else int(value)
    return kind, name, rest[:first], rest[first:last], options


def _tensors(kind: str, name: str, options: dict[int, Value], numbers: _Numbers) -> State:
    """What a layer owns of the numbers, which it takes."""
    if kind in WEIGHTLESS:
        return {}
    if kind == "PReLU" and options.keys() == {0}:
        return {"weight": numbers.floats(_size(options[0], name))}
    if kind != "Convolution" or not options.keys() <= set(CONVOLUTION.values()):
        raise ValueError(f"layer '{name}' is of a kind that is not known here, {kind} with options {sorted(options)}")
    outside, kernel, size = (_size(options[CONVOLUTION[key]], name) for key in ("outside", "kernel", "size"))
    inside, rest = divmod(size, outside * kernel**2)
    if rest or not inside:
        raise ValueError(f"{size} numbers are no {outside} kernels of {kernel}x{kernel} for layer '{name}'")
    tensors = {"weight": numbers.marked(size, name).reshape(outside, inside, kernel, kernel)}
    if options.get(CONVOLUTION["bias"], 0) == 1:
        tensors["bias"] = numbers.floats(outside)
    return tensors


def _size(value: Value, name: str) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"layer '{name}' has a size of {value}")
    return value


class _Numbers:
    """Takes the bytes of a .bin from front to back; all are little-endian."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def bytes(self, count: int) -> memoryview:
        taken = memoryview(self.data)[self.at : self.at + count]
        if len(taken) != count:
            raise ValueError(f"the numbers end after {len(self.data)} bytes, before the graph's last layer has its own")
        self.at += count
        return taken

    def floats(self, count: int) -> Tensor:
        return torch.from_numpy(np.frombuffer(self.bytes(4 * count), "<f4").astype(np.float32))

    def marked(self, count: int, name: str) -> Tensor:
        """Numbers behind a mark that tells their storage, as float32."""
        (mark,) = struct.unpack("<I", self.bytes(4))
        if mark == FLOAT32:
            return self.floats(count)
        if mark != FLOAT16:
            raise ValueError(f"the numbers of layer '{name}' are stored as {mark:#010x}, neither float32 nor float16")
        halves = np.frombuffer(self.bytes(2 * count), "<f2").astype(np.float32)
        self.bytes(2 * count % 4)  # the next ones start at a multiple of four
        return torch.from_numpy(halves)

    def end(self) -> None:
        """Refuse what no layer has taken."""
        if left := len(self.data) - self.at:
            raise ValueError(f"{left} bytes are left over")
