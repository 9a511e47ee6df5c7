"""Several processes, one clip: the tiles of every step are shared out, and each process gets all results.

Tiles are handed out in rounds, one batch to each process, and a round's predictions are gathered and added in the order
of the plan. So every process holds the same sums as a single one would, to the bit where the hardware gives the same
bits for a tile, and a process that fails or disagrees is noticed by all in the round in which it happens.

    torchrun --nproc-per-node 4 -m patchvsr upscale in.mp4 out.mp4 --scale 4
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from patchvsr.errors import UserError

_HEADER = 8
"""Numbers that go before a tensor: whether its maker failed, how many axes it has, and their lengths."""


class Group:
    """The processes that share the tiles; this one is a process alone.

    Attributes:
        rank: of this process.
        size: number of processes.
    """

    rank = 0
    size = 1

    def each(self, count: int, make: Callable[[int], Tensor]) -> Iterator[tuple[int, Tensor]]:
        """`(index, make(index))` for 0..count - 1, in order; each is made by one process and given to all.

        Raises:
            UserError: a process of the group failed or is gone.
        """
        for index in range(count):
            yield index, make(index)

    def agree(self, what: dict[str, Any]) -> None:
        """Refuse to go on unless all processes say the same.

        Args:
            what: names and values, JSON-like.

        Raises:
            UserError: the first name on which they differ, with the values.
        """

    def shared(self, value: Any) -> Any:
        """The first process's value."""
        return value

    def close(self) -> None:
        """Leave the group."""


SINGLE = Group()


class ProcessGroup(Group):
    """The processes of torch.distributed's default group.

    Args:
        device: where this process computes; tensors are exchanged there with NCCL, on the CPU with gloo.
    """

    def __init__(self, device: torch.device) -> None:
        import torch.distributed as dist

        self._dist, self.device = dist, device
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    @classmethod
    def join(cls, device: torch.device, seconds: float = 600) -> ProcessGroup:
        """The group that torchrun describes in the environment.

        Args:
            device: where this process computes.
            seconds: how long one process may keep the others waiting before they give up.

        Raises:
            UserError: the processes do not find each other in that time.
        """
        import torch.distributed as dist

        backend = "nccl" if device.type == "cuda" else "gloo"
        try:
            dist.init_process_group(backend, timeout=timedelta(seconds=seconds))
        except (RuntimeError, ValueError) as error:
            raise UserError(f"the processes of this run do not find each other ({_first_line(error)})") from error
        return cls(device)

    def each(self, count: int, make: Callable[[int], Tensor]) -> Iterator[tuple[int, Tensor]]:
        """See `Group.each`."""
        for start in range(0, count, self.size):
            mine, failure = None, None
            if start + self.rank < count:
                try:
                    mine = make(start + self.rank)
                except Exception as error:
                    failure = error  # told to the others before it is raised, or they would wait for this process
            for index, made in enumerate(self._round(mine, failure), start):
                if index < count:
                    yield index, made

    def _round(self, mine: Tensor | None, failure: Exception | None) -> list[Tensor]:
        try:
            headers = self._gather(self._header(mine, failure))
            failed = [rank for rank, header in enumerate(headers) if header[0]]
            if failure is not None:
                raise failure
            if failed:
                raise UserError(f"process {failed[0]} of {self.size} failed; what it printed says why")
            shapes = [tuple(header[2 : 2 + header[1]]) for header in headers]
            sizes = [torch.Size(shape).numel() if shape else 0 for shape in shapes]
            flat = torch.zeros(max(sizes), dtype=torch.float32, device=self.device)
            if mine is not None:
                flat[: mine.numel()] = mine.to(self.device, torch.float32).flatten()
            parts = [torch.empty_like(flat) for _ in range(self.size)]
            self._dist.all_gather(parts, flat)
        except RuntimeError as error:
            if error is failure:
                raise
            raise UserError(
                f"a process of this run is gone, or has kept the others waiting too long ({_first_line(error)}); "
                "start the run again, with --resume to keep what is finished"
            ) from error
        return [part[:size].view(shape) for part, size, shape in zip(parts, sizes, shapes, strict=True) if size]

    def _header(self, mine: Tensor | None, failure: Exception | None) -> Tensor:
        shape = [] if mine is None else list(mine.shape)
        numbers = [int(failure is not None), len(shape), *shape]
        return torch.tensor(numbers + [0] * (_HEADER - len(numbers)), dtype=torch.int64, device=self.device)

    def _gather(self, header: Tensor) -> list[list[int]]:
        found = [torch.empty_like(header) for _ in range(self.size)]
        self._dist.all_gather(found, header)
        return [one.tolist() for one in found]

    def agree(self, what: dict[str, Any]) -> None:
        """See `Group.agree`."""
        said: list[dict[str, Any]] = [{}] * self.size
        self._dist.all_gather_object(said, what)
        for name in sorted({name for one in said for name in one}):
            for rank, one in enumerate(said):
                if one.get(name) != said[0].get(name):
                    raise UserError(
                        f"the processes of this run do not agree on {name}: process 0 has {said[0].get(name)}, "
                        f"process {rank} has {one.get(name)}; give all of them the same command, files and hardware"
                    )

    def shared(self, value: Any) -> Any:
        """See `Group.shared`."""
        box = [value]
        self._dist.broadcast_object_list(box, src=0)
        return box[0]

    def close(self) -> None:
        """Leave the group. Without it, a process that ends while another is gone may abort instead."""
        with suppress(RuntimeError):
            self._dist.destroy_process_group()


def launched() -> bool:
    """Whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def speaks() -> bool:
    """Whether this process talks to the user: the first one, or one alone."""
    return os.environ.get("RANK", "0") == "0"


def local_device(device: torch.device) -> torch.device:
    """This process's own GPU of the machine, where torchrun has started several.

    Raises:
        UserError: more processes than GPUs.
    """
    if device.type != "cuda" or not launched():
        return device
    rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= count:
        raise UserError(f"{rank + 1} or more processes share this machine's {count} GPUs; start one for each GPU")
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
