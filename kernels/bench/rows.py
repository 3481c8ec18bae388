"""Packed rows, the same rows padded to a grid, and the loop over time that trainers run on such grids."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

GAMMA, LAM = 0.99, 0.95


def shapes(device: torch.device) -> dict[str, Tensor]:
    """Name -> lengths of rows; the ragged ones have a mean of half their longest or less."""
    generator = torch.Generator().manual_seed(0)
    ragged = torch.randint(200, 4097, (512,), generator=generator)
    short = torch.full((128,), 12)
    if device.type == "cuda":
        thin = (4096 * torch.rand(512, generator=generator) ** 1.5).long().clamp(min=1)
        return {"512x4096": torch.full((512,), 4096), "512x1..4096": thin, "256x512": torch.full((256,), 512),
                "128x12": short}  # fmt: skip
    return {"512x4096": torch.full((512,), 4096), "512x200..4096": ragged, "128x12": short}


def sample(lengths: Tensor, names: tuple[str, ...], generator: torch.Generator) -> dict[str, Any]:
    """Random columns ``names``, packed [A] and as grids [N, T] padded with 0, and what surrounds them."""
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    num, longest, total, device = len(lengths), int(lengths.max()), int(offsets[-1]), generator.device
    inside = (torch.arange(longest) < lengths[:, None]).to(device)
    packed = {name: torch.randn(total, generator=generator, device=device) for name in names}
    end = torch.zeros(num, longest, 1, dtype=torch.bool, device=device)
    end[:, -1] = True
    return {
        "packed": packed, "offsets": offsets.to(device), "inside": inside, "end": end, "few": int(offsets[2]),
        "final": torch.randn(num, generator=generator, device=device),
        "grid": {k: torch.zeros(num, longest, device=device).masked_scatter_(inside, x) for k, x in packed.items()},
    }  # fmt: skip


def two_rows(s: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """(columns, offsets, final) of the first two rows in float64 on the CPU, where a loop is quick enough."""
    columns = {name: x[: s["few"]].cpu().double() for name, x in s["packed"].items()}
    return columns, s["offsets"][:3].cpu(), s["final"][:2].cpu().double()


def first_two(s: dict[str, Any], grid: Tensor) -> Tensor:
    """Those two rows out of a grid [N, T]."""
    return grid[:2][s["inside"][:2]]


def following(s: dict[str, Any]) -> Tensor:
    """V(s_{u+1}) as a grid, right where all rows are equally long."""
    return torch.cat([s["grid"]["value"][:, 1:], s["final"][:, None]], 1)
