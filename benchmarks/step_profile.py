"""Profiles one training step of each method under each engine: which kernels take the time, before and after.

    python benchmarks/step_profile.py --shape DIR --out benchmarks/results/NAME

`--shape` is a folder with a `config.json` and a tokenizer (random weights), `--backbone` one with weights.
The step is the study's recipe under bf16 autocast (forward, backward, clipping, AdamW) on a batch of random tokens with
some padding, outside any training loop: what is left between its time and that in `vs_peers.py` is the loop's.
Attention is the program's: it leaves padding out where it can; otherwise compiled steps alone take cuDNN's kernels.
On a CPU there is the eager engine alone, and operators in the place of kernels.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.nn.utils import clip_grad_norm_
from torch.profiler import ProfilerActivity, profile

from peft_lightning.engine.attention import planned_attention
from peft_lightning.engine.captured_steps import CapturedSteps
from peft_lightning.engine.casting import cast_together, casts_together
from peft_lightning.engine.clipping import Clipping
from peft_lightning.engine.compilation import CompiledLayers
from peft_lightning.engine.step_settings import StepSettings
from peft_lightning.engine.unpaddable_networks import can_unpad
from peft_lightning.engine.unpadded_attention import unpadded_attention
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.optim.optimizers import build_optimizer
from peft_lightning.runs.files import write_atomically
from peft_lightning.task import SingleLabel
from side_by_side.clock import synchronised
from side_by_side.peer_job import METHODS
from side_by_side.recorded_command import recorded
from side_by_side.results import describe_machine
from study_costs import CONFIGS, make_backbone

ENGINES = ("eager", "graph", "compiled")
TOP = 12


@dataclass
class Profile:
    """What a step of a method under an engine took.

    Args:
        method: the recipe.
        engine: how the step was launched.
        backbone_dtype: how the frozen weights were held.
        ms_per_step: milliseconds, the mean of many steps.
        unpadded_attention: whether attention left padding out.
        cudnn_attention: whether it might take cuDNN's kernels.
        busy_ms: milliseconds in which kernels ran, of one step.
        launches: kernels of one step.
        warm_up_s: seconds before the first timed step, compiling included.
        kernels: the kernels that took most, with milliseconds and launches a step.
    """

    method: str
    engine: str
    backbone_dtype: str
    ms_per_step: float
    unpadded_attention: bool
    cudnn_attention: bool
    busy_ms: float
    launches: int
    warm_up_s: float
    kernels: list[tuple[str, float, int]]


def profile_step(method: str, engine: str, backbone: str, batch_size: int, tokens: int, steps: int) -> Profile:
    """Profiles.

    Args:
        method: a recipe's name.
        engine: `eager`, `graph` or `compiled`.
        backbone: what `model.model_name_or_path` takes.
        batch_size: examples in the batch.
        tokens: width of the batch.
        steps: how many are timed.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module, dtype = _module(method, backbone)
    module.to(device).train()
    unpads = can_unpad(module, device, torch.bfloat16)
    with (
        planned_attention(engine == "compiled" and not unpads),
        unpadded_attention(module) if unpads else nullcontext(),
    ):
        measured = _profile(module, engine, batch_size, tokens, steps)
        return replace(measured, method=method, backbone_dtype=dtype, unpadded_attention=unpads)


def _profile(module: TextClassifier, engine: str, batch_size: int, tokens: int, steps: int) -> Profile:
    device = next(module.parameters()).device
    batch = _batch(batch_size, tokens, device)
    trained = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    optimizer, _ = build_optimizer("adamw", trained, learning_rate=1e-5, device=device)

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16)

    def eager() -> None:
        with autocast():
            loss = module.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_([value for _, value in trained], 1.0)
        optimizer.step()
        optimizer.zero_grad()

    began = time.perf_counter()
    eager()
    step: Callable[[], object] = eager
    if engine != "eager":
        settings = StepSettings(
            Clipping(1.0, in_update=engine == "compiled"), 1, autocast, lambda loss: loss, True, True
        )
        if engine == "compiled":
            layers = CompiledLayers(module)
            settings = replace(settings, capturing=lambda micro_batch_size: layers.lent())
        if casts_together(module, compiled=engine == "compiled"):
            settings = replace(settings, weights=lambda: cast_together(module, torch.bfloat16))
        captured = CapturedSteps(module.loss, optimizer, settings)

        def step() -> object:
            return captured.run(batch, batch_size, True)

    for _ in range(3):
        step()
    warm = synchronised()
    for _ in range(steps):
        step()
    ms = 1000 * (synchronised() - warm) / steps
    kernels = _kernels(step, device)
    return Profile(
        method="",
        engine=engine,
        backbone_dtype="",
        ms_per_step=ms,
        unpadded_attention=False,
        cudnn_attention=bool(torch.backends.cuda.cudnn_sdp_enabled()),  # type: ignore[no-untyped-call]
        busy_ms=sum(took for _, took, _ in kernels),
        launches=sum(count for *_, count in kernels),
        warm_up_s=warm - began,
        kernels=kernels[:TOP],
    )


def as_markdown(profiles: list[Profile]) -> str:
    """Writes a table of the steps, and one of the kernels of each."""
    lines = [
        "| method | engine | backbone | ms per step | kernels busy, ms | launches | warm-up, s |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for measured in profiles:
        figures = (
            f"{measured.ms_per_step:.2f} | {measured.busy_ms:.2f} | {measured.launches} | {measured.warm_up_s:.1f}"
        )
        lines.append(f"| {measured.method} | {measured.engine} | {measured.backbone_dtype} | {figures} |")
    for measured in profiles:
        lines += [
            "",
            f"{measured.method}, {measured.engine}:",
            "",
            "| ms | launches | kernel |",
            "| ---: | ---: | --- |",
        ]
        lines += [f"| {took:.3f} | {count} | `{name[:100]}` |" for name, took, count in measured.kernels]
    return "\n".join(lines)


def main() -> int:
    """Profiles, and writes `step_profile.md` and `step_profile.json` after every step that has been."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    backbone = parser.add_mutually_exclusive_group(required=True)
    backbone.add_argument("--shape", type=Path, help="folder with config.json and tokenizer: random weights")
    backbone.add_argument("--backbone", help="`embedded`, or a folder with weights")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--max_length", type=int, default=256, help="tokens, all of them in use but in one review")
    parser.add_argument("--steps", type=int, default=50, help="steps that are timed")
    asked = parser.parse_args()
    engines = asked.engines if torch.cuda.is_available() else ["eager"]
    profiles: list[Profile] = []
    machine = describe_machine()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.backbone or str(make_backbone(asked.shape, Path(scratch) / "backbone"))
        for method in asked.methods:
            for engine in engines:
                profiles.append(profile_step(method, engine, folder, asked.batch_size, asked.max_length, asked.steps))
                last = profiles[-1]
                print(f"{method} {engine}: {last.ms_per_step:.2f} ms, kernels {last.busy_ms:.2f} ms", flush=True)
                # After each: compiling takes long, and whoever cannot wait keeps what there is.
                _write(asked.out, profiles, f"{asked.batch_size} x {asked.max_length} tokens", machine)
                gc.collect()
                torch.compiler.reset()
    print(as_markdown(profiles))
    return 0


def _write(folder: Path, profiles: list[Profile], size: str, machine: dict[str, Any]) -> None:
    content = {
        "command": recorded(sys.argv[1:], "step_profile.py"),
        "machine": machine,
        "profiles": [asdict(measured) for measured in profiles],
    }
    table = f"{as_markdown(profiles)}\n\n{size}; {json.dumps(machine)}\n"
    write_atomically(folder / "step_profile.md", table.encode())
    write_atomically(folder / "step_profile.json", (json.dumps(content, indent=2) + "\n").encode())


def _module(method: str, backbone: str) -> tuple[TextClassifier, str]:
    """Builds the recipe's model; a frozen backbone in bf16, as a fast run holds it."""
    recipe = yaml.safe_load((CONFIGS / f"{method}.yaml").read_text(encoding="utf-8"))["model"]["method"]
    package, name = recipe["class_path"].rsplit(".", 1)
    made = getattr(importlib.import_module(package), name)(**recipe.get("init_args", {}))
    dtype: Any = "float32" if method == "full" else "bfloat16"
    torch.manual_seed(1)
    module = TextClassifier(made, backbone, backbone_dtype=dtype)
    module.build(SingleLabel(("negative", "positive")), "bf16-mixed")
    return module, dtype


def _batch(batch_size: int, tokens: int, device: torch.device) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 1000, (batch_size, tokens), device=device)
    mask = torch.ones_like(ids)
    mask[0, tokens - tokens // 8 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(batch_size, device=device) % 2}


def _kernels(step: Callable[[], object], device: torch.device) -> list[tuple[str, float, int]]:
    """The kernels of one step, those that took most first; on a CPU its operators."""
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as recorded:
        step()
        synchronised()
    times = [
        (event.key, (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1000, event.count)
        for event in recorded.key_averages()
    ]
    return sorted((timed for timed in times if timed[1] > 0), key=lambda timed: -timed[1])


if __name__ == "__main__":
    sys.exit(main())
