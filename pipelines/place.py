"""Where a worker trains: its device, its rank among the workers, and how a network and a number are shared.

Torch only: Ray starts workers in `pipelines/workers.py`, torchrun in `pipelines/train.py`, and both stand here.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from models.recipe import Prepare

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
KEPT = 2**30 - 1


@dataclass(frozen=True)
class Place:
    """One worker's place among `world` workers."""

    device: torch.device
    rank: int
    world: int
    prepare: Prepare
    total: Callable[[Tensor], Tensor]  # the sum over all workers; every worker must call it

    def wait(self) -> None:
        """Until every worker is here."""
        self.total(torch.zeros(1, device=self.device))


def alone() -> Place:
    """The only worker: the GPU where there is one, else the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Place(device, 0, 1, lambda network: _on(device, network), lambda numbers: numbers)


def among_workers(device: torch.device) -> Place:
    """A worker of the process group that is already running."""
    rank, world = distributed.get_rank(), distributed.get_world_size()
    if world == 1:
        return Place(device, 0, 1, lambda network: _on(device, network), lambda numbers: numbers)

    def total(numbers: Tensor) -> Tensor:
        distributed.all_reduce(numbers)
        return numbers

    return Place(device, rank, world, lambda network: _shared(device, network), total)


def bfloat16(device: torch.device, precision: str) -> bool:
    """Whether to autocast: `auto` says yes where the machine has bfloat16 arithmetic."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def tune(threads: int) -> None:
    """Give torch `threads` threads, and keep freed memory.

    glibc hands big blocks back to the kernel after each step, and getting them zeroed again costs a tenth or more
    of a step on a CPU.
    """
    torch.set_num_threads(max(1, threads))
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, KEPT)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _on(device: torch.device, network: nn.Module) -> nn.Module:
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _shared(device: torch.device, network: nn.Module) -> nn.Module:
    """In DistributedDataParallel; batch norm synchronised on GPUs, per worker on CPUs (torch has no other there)."""
    network = _on(device, network)
    if device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    # Batch norm's running statistics stay each worker's own: rank 0's are saved, as `validate` measured them.
    return DistributedDataParallel(
        network, device_ids=[device] if device.type == "cuda" else None, forward_sync_buffers=False
    )
