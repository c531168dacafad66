"""Batches prepared ahead of the steps that need them, by processes of their own: a GPU learns faster than one process cuts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .patches import Batch, BatchStream

# Batches that every process has ready; a batch of 64 patches of 128 x 128 pixels is 21 MB.
READY = 4


@dataclass(frozen=True)
class _Steps(Dataset[tuple[Tensor, ...]]):
    stream: BatchStream
    rank: int

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        batch = self.stream.draw(step, self.rank)
        return batch.sharp, batch.base, batch.lost, batch.target, batch.weight


def batches(stream: BatchStream, steps: range, rank: int, workers: int) -> Iterator[Batch]:
    """The batches of ``steps`` in their order, the same whatever the number of processes.

    Args:
        stream: where batches come from.
        steps: numbers of the optimizer steps.
        rank: of this training process among several.
        workers: processes that prepare batches ahead; 0 to draw each when it is asked for.
    """
    if not workers:
        yield from (stream.draw(step, rank) for step in steps)
        return
    if steps:
        stream.draw(steps[0], rank)  # What is made for the first batch and kept, such as self-pairs, every process then has.
    loader = DataLoader(
        _Steps(stream, rank),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=READY,
        pin_memory=torch.cuda.is_available(),
    )
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    ready = iter(loader)
    if before is not None:
        # torch answers the end of any child with a handler that outlives the loader, which ended a process with a segmentation
        # fault at a later child's end. It is not needed: the loader looks every 5 s whether its processes live.
        signal.signal(signal.SIGCHLD, before)
    yield from (Batch(*images) for images in ready)
