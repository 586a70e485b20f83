"""The least time that a step can take on this machine: its arithmetic at the matrix rate that is measured here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from side_by_side.clock import synchronised
from side_by_side.flops import Encoder, optimizer_bytes, training_flops
from side_by_side.peer_job import METHODS, PeerJob
from side_by_side.shared_reviews import load_tokenizer, read_reviews, token_counts


def run(job: PeerJob, folder: Path) -> dict[str, Any]:
    """Measures the machine and counts the work of every method.

    Args:
        job: batch size, length, reviews and backbone; its method is not looked at.
        folder: not used.

    Returns:
        Rates, and for each method operations, bytes and the floor in ms: at the rate of the model's own matrix
        products, and at that of a large square.
    """
    on_gpu = torch.cuda.is_available()
    encoder = _encoder(Path(job.backbone))
    lengths = token_counts(read_reviews(job)[0], load_tokenizer(job.backbone), job.max_length)
    batches = len(lengths) / job.batch_size
    tokens = round(job.tokens_per_step)
    square = 8192 if on_gpu else 1536
    h, f = encoder.hidden, encoder.feedforward
    own = [(tokens, h, h)] * 4 + [(tokens, h, f), (tokens, f, h)]
    figures: dict[str, Any] = {"tokens_per_step": job.tokens_per_step, "square": square, "methods": {}}
    # The faster type is the machine's limit: bf16 wherever there are matrix units for it.
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        figures[f"own_tflops_{name}"] = matrix_rate(own, dtype)
        figures[f"square_tflops_{name}"] = matrix_rate([(square,) * 3], dtype)
    figures["bandwidth_gb_per_s"] = copy_rate()
    own_rate = max(figures["own_tflops_float32"], figures["own_tflops_bfloat16"])
    square_rate = max(figures["square_tflops_float32"], figures["square_tflops_bfloat16"], own_rate)
    for method in METHODS:
        flops = training_flops(encoder, method, lengths) / batches
        moved = optimizer_bytes(encoder, method, eight_bit=method == "qlora")
        optimizer_ms = moved / figures["bandwidth_gb_per_s"] / 1e6
        figures["methods"][method] = {
            "gflop": flops / 1e9,
            "optimizer_mb": moved / 1e6,
            "floor_own_ms": flops / own_rate / 1e9 + optimizer_ms,
            "floor_square_ms": flops / square_rate / 1e9 + optimizer_ms,
        }
    return figures


def matrix_rate(shapes: list[tuple[int, int, int]], dtype: torch.dtype) -> float:
    """Measures how fast matrix products run, one after the other, with nothing of the launching in the time.

    Args:
        shapes: m, k and n of each product.
        dtype: the type of all matrices.

    Returns:
        10¹² operations a second.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pairs = [
        (torch.randn(m, k, device=device, dtype=dtype), torch.randn(k, n, device=device, dtype=dtype))
        for m, k, n in shapes
    ]

    def products() -> None:
        for left, right in pairs:
            left @ right

    return sum(2 * m * k * n for m, k, n in shapes) / _seconds(products) / 1e12


def copy_rate() -> float:
    """Measures how fast memory is copied, in 10⁹ bytes a second, read and written bytes counted."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 2**30 if device == "cuda" else 2**27
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _seconds(lambda: target.copy_(source)) / 1e9


def _seconds(work: Callable[[], Any], least_s: float = 0.3) -> float:
    """The best of five rounds, some `least_s` together; on a GPU the work is captured, so that no launch is timed."""
    for _ in range(3):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(10):
                work()
        work, share = graph.replay, 10
    else:
        share = 1
    rounds, best = 1, float("inf")
    while True:
        began = synchronised()
        for _ in range(rounds):
            work()
        took = synchronised() - began
        if took >= least_s / 5:
            break
        rounds *= 2
    for _ in range(5):
        began = synchronised()
        for _ in range(rounds):
            work()
        best = min(best, (synchronised() - began) / rounds / share)
    return best


def _encoder(backbone: Path) -> Encoder:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = json.loads((backbone / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(backbone, num_labels=2))
    return Encoder(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        feedforward=config["intermediate_size"],
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
