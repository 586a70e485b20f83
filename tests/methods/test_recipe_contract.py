"""Every recipe keeps the contract that the docs' table states, on the backbone in the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.methods.contract import CONFIGS, RECIPES, logits, made, row, saved, table_head, train
from tests.samples import mostly_slow

DOCS = (CONFIGS.parent / "docs/peft_types.md").read_text().splitlines()
# Ranks that move, a start from data, frozen draws, and LoRA's own class.
FAST = ("vera",)


@pytest.mark.parametrize("name", mostly_slow(RECIPES, fast=FAST))
def test_a_recipe_keeps_what_its_row_in_the_docs_says(name: str) -> None:
    assert row(name) in DOCS


def test_every_recipe_has_one_row_in_the_docs() -> None:
    start = DOCS.index(table_head()[0])
    assert DOCS[start + 1] == table_head()[1]
    names = [line.split("`")[1] for line in DOCS[start + 2 : start + 2 + len(RECIPES)]]
    assert names == list(RECIPES)
    assert not DOCS[start + 2 + len(RECIPES)]


_REBUILD = """
import sys, torch
from tests.methods.contract import logits, rebuilt
folder, *names = sys.argv[1:]
for name in names:
    checkpoint = torch.load(f"{folder}/{name}.pt", weights_only=True)
    torch.save(logits(rebuilt(name, checkpoint).model), f"{folder}/{name}.logits.pt")
"""


@pytest.mark.slow
def test_checkpoints_answer_the_same_in_a_fresh_process(tmp_path: Path) -> None:
    expected = {}
    for name in RECIPES:
        run = made(name)
        train(run, last=1)
        expected[name] = logits(run.model)
        torch.save(saved(run), tmp_path / f"{name}.pt")
    words = [sys.executable, "-W", "ignore", "-c", _REBUILD, str(tmp_path), *expected]
    subprocess.run(words, check=True, cwd=CONFIGS.parent, timeout=1000)
    for name, value in expected.items():
        assert torch.equal(torch.load(tmp_path / f"{name}.logits.pt", weights_only=True), value), name
