"""The work that a live job does: real training steps of a small network. PyTorch is imported here and nowhere else."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch

WIDTH = 384
BATCH = 128


class Training:
    """Training of a three-layer perceptron with Adam on batches that are a function of (seed, job, step).

    So a job that was stopped at any step and resumed from a checkpoint ends with the same weights, bit for bit, as one
    that was left alone (on the same device and number of threads).
    """

    def __init__(self, seed: int, job: int) -> None:
        self._key = seed * 1_000_003 + job
        torch.manual_seed(self._key)
        self._model = torch.nn.Sequential(
            torch.nn.Linear(WIDTH, WIDTH),
            torch.nn.ReLU(),
            torch.nn.Linear(WIDTH, WIDTH),
            torch.nn.ReLU(),
            torch.nn.Linear(WIDTH, 1),
        )
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-3)
        self.steps = 0
        self.loss = float("nan")

    def step(self) -> None:
        """One forward and backward pass and an update of the weights."""
        draw = torch.Generator().manual_seed((self._key * 7_919 + self.steps) % (1 << 63))
        inputs = torch.randn(BATCH, WIDTH, generator=draw)
        targets = torch.sin(inputs.sum(dim=1, keepdim=True))
        loss = torch.nn.functional.mse_loss(self._model(inputs), targets)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.steps += 1
        self.loss = float(loss.detach())

    def save(self, path: Path) -> None:
        """Write a checkpoint under a temporary name and rename it: a reader never sees half of one."""
        partial = path.with_suffix(".partial")
        state: dict[str, Any] = {
            "steps": self.steps,
            "loss": self.loss,
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        torch.save(state, partial)
        os.replace(partial, path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.steps, self.loss = int(state["steps"]), float(state["loss"])

    def weights_sha256(self) -> str:
        """A fingerprint of the weights."""
        digest = hashlib.sha256()
        for tensor in self._model.state_dict().values():
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()


def use_threads(count: int) -> None:
    """Compute with that many threads."""
    torch.set_num_threads(count)
