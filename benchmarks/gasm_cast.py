"""Clips a second through DINOv3, R3D-18 and GASM-CAST, in 32 bits and in bf16, and what each part costs.

    python -m benchmarks.gasm_cast                              # the published size, random weights and pixels
    python -m benchmarks.gasm_cast --params params.yaml         # the size in that file's section train_gasm_cast
    python -m benchmarks.gasm_cast --train --frozen             # training steps of the fusion alone

One view of 16 frames is a clip here. Pixels are on the device already; reading and decoding are measured by
benchmarks.loader. The network is exported (torch.export) where it is not trained, so that what is timed is what would
be deployed; agreement of the two precisions is printed beside.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from kinetoken.core.params import load_params
from kinetoken.gasm_cast.counting import trainable_parameters
from kinetoken.gasm_cast.full_size import FULL, part_costs
from kinetoken.gasm_cast.network import smoothed_loss
from kinetoken.gasm_cast.params import GasmCastParams
from kinetoken.gasm_cast.sizes import FULL_SIZE
from kinetoken.gasm_cast.system import GasmCastSystem, build_system

WARM_UP = 2


def exported(system: nn.Module, pixels: Tensor) -> nn.Module:
    """The network as `torch.export` captures it, for batches of this size."""
    return torch.export.export(system.eval(), (pixels,)).module()


def seconds(call: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Median time of a call."""
    taken = []
    for turn in range(WARM_UP + rounds):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if turn >= WARM_UP:
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def inference_rows(system: GasmCastSystem, pixels: Tensor, rounds: int) -> list[tuple[str, float, float]]:
    """(precision, clips/s, largest difference of a class probability from that in 32 bits)."""
    rows: list[tuple[str, float, float]] = []
    with torch.no_grad():
        expected = system.eval()(pixels).softmax(-1)
        for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            program = exported(system.to(kind), pixels)
            apart = float((program(pixels).float().softmax(-1) - expected).abs().max())
            taken = seconds(lambda program=program: program(pixels), rounds, pixels.device)  # type: ignore[misc]
            rows.append((name, len(pixels) / taken, apart))
    system.to(torch.float32)
    return rows


def training_rows(system: GasmCastSystem, pixels: Tensor, rounds: int) -> list[tuple[str, float]]:
    """(precision, clips/s of a training step: forward, backward, AdamW)."""
    label = torch.arange(len(pixels), device=pixels.device) % len(system.classes)
    optimizer = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], lr=1e-4)
    rows = []
    for name, half in (("fp32", False), ("bf16", True)):

        def step(half: bool = half) -> None:
            with torch.autocast(pixels.device.type, torch.bfloat16, enabled=half):
                logits = system.train()(pixels)
            smoothed_loss(logits, label, 0.1).backward()
            optimizer.step()
            optimizer.zero_grad()

        rows.append((name, len(pixels) / seconds(step, rounds, pixels.device)))
    return rows


def describe(params: GasmCastParams, classes: int, system: GasmCastSystem) -> str:
    """Multiply-adds of one view by part, and parameters."""
    costs = part_costs(params, classes)
    lines = [f"{'part':<10}{'GMACs a view':>14}{'share':>8}{'parameters':>14}{'trained':>12}"]
    for name, cost in costs.items():
        part = system.get_submodule(name)
        every, trained = sum(p.numel() for p in part.parameters()), trainable_parameters(part)
        lines.append(f"{name or 'all':<10}{cost / 1e9:>14.3f}{cost / costs['']:>8.1%}{every:>14,}{trained:>12,}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, help="measure this file's section train_gasm_cast")
    parser.add_argument("--classes", type=int, default=FULL_SIZE.classes)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--train", action="store_true", help="time training steps too")
    parser.add_argument("--frozen", action="store_true", help="backbones keep their weights")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    params = load_params(options.params, "train_gasm_cast", GasmCastParams) if options.params else FULL
    params = dataclasses.replace(params, frozen=options.frozen, cache_tokens=False)
    device = torch.device(options.device)
    system = build_system(params, [str(place) for place in range(options.classes)]).to(device)
    print(describe(params, options.classes, system))
    side, draw = params.views.crop, torch.Generator().manual_seed(0)
    shape = (options.batch, params.motion.frames, side, side, 3)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=draw).to(device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{options.threads} CPU threads"
    print(f"\n{where}, batches of {options.batch}, medians of {options.rounds}")
    for name, rate, apart in inference_rows(system, pixels, options.rounds):
        print(f"inference, exported, {name:<6}{rate:10.2f} clips/s   probabilities within {apart:.1e} of fp32")
    for name, rate in training_rows(system, pixels, options.rounds) if options.train else ():
        kind = "fusion" if options.frozen else "everything"
        print(f"training, {kind}, {name:<6}{rate:10.2f} clips/s")
    if device.type == "cuda":
        print(f"most memory held: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
