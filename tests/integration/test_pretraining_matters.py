"""What `make quickstart` shows is understanding that pretraining gave, and not something the corpus gives away."""

import re
import shutil
from pathlib import Path

import pytest

from peft_lightning.backbone.locations import locate
from tests.integration.offline_run import SOURCES, only_run, record, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def quickstart() -> list[str]:
    """The very command of the Makefile: whoever changes its budget changes this test's."""
    makefile = (SOURCES / "Makefile").read_text().replace("\\\n", " ")
    command = re.search(r"^QUICKSTART = (.+)$", makefile, re.MULTILINE)
    assert command is not None
    return command[1].split()


def random_backbone(folder: Path) -> Path:
    """The embedded backbone's shape and tokenizer, its weights as they are before any pretraining."""
    import torch
    from transformers import AutoConfig, AutoModel

    shutil.copytree(locate("embedded"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder


def accuracy(cwd: Path, *extra: str) -> float:
    cwd.mkdir()
    outcome = run([*quickstart(), "--trainer.enable_progress_bar", "false", *extra], cwd, timeout_s=1700)
    assert outcome.code == 0, outcome.err
    # A whole number of reviews, recorded as a 32-bit float: 0.98 must not count as more than 0.98.
    measured: float = record(only_run(cwd))["metrics"]["test/acc"]
    return round(measured, 4)


def test_quickstart_scores_well_and_random_weights_at_least_8_points_lower(tmp_path: Path) -> None:
    random = random_backbone(tmp_path / "random")
    pretrained = accuracy(tmp_path / "pretrained")
    untrained = accuracy(tmp_path / "untrained", "--model.model_name_or_path", str(random))
    assert 0.85 <= pretrained <= 0.98, (pretrained, untrained)
    assert round(pretrained - untrained, 4) >= 0.08, (pretrained, untrained)
