from collections.abc import Callable
from pathlib import Path

import pytest

from peft_lightning.__main__ import main
from peft_lightning.commands.checked_ahead import check_settings, refuse_settings
from peft_lightning.commands.settings_check import devices_here
from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import ONE_LINE
from peft_lightning.compare.plan.sweep import Part, Sweep, parts_of, plan_sweep
from peft_lightning.errors import UserError
from tests.compare.execution.in_process import InProcess
from tests.compare.plan.test_plan import OFFLINE, STUDY

SWEEP = Sweep("model.optimizer", ("adamw", "adamw8"))


@pytest.fixture
def parts() -> tuple[Part, ...]:
    """A sweep with a value that no recipe takes."""
    return parts_of(SWEEP, plan_sweep(SWEEP, STUDY[:2], [1], [OFFLINE]), Path("mine"))


def ending(code: int, line: str) -> Callable[[Job], int]:
    """What a checking process does: it writes a line and ends."""

    def work(job: Job) -> int:
        with (job.folder / "log.txt").open("a") as log:
            log.write(f"{line}\n")
        return code

    return work


def test_a_refusal_is_raised_in_its_words_and_leaves_no_file(parts: tuple[Part, ...]) -> None:
    folders: list[Path] = []

    def work(job: Job) -> int:
        folders.append(job.folder)
        return ending(2, f"{ONE_LINE}full: r is 0")(job)

    executor = InProcess(work)
    with pytest.raises(UserError, match=r"^full: r is 0$"):
        refuse_settings(parts, Pool(executor, ["here"]))
    assert [command[:3] for command in executor.commands] == [("-m", "peft_lightning", "settings_check")]
    assert not folders[0].exists()


@pytest.mark.parametrize(("code", "line"), [(0, "{}"), (1, "MemoryError"), (-9, "")])
def test_a_check_that_breaks_refuses_nothing(code: int, line: str, parts: tuple[Part, ...]) -> None:
    refuse_settings(parts, Pool(InProcess(ending(code, line)), ["here"]))


@pytest.mark.slow
def test_a_process_of_its_own_checks_for_other_machines(parts: tuple[Part, ...]) -> None:
    assert check_settings(parts[:1], here=True) == devices_here()
    executor = InProcess(ending(0, ""))
    executor.elsewhere = True
    with pytest.raises(UserError, match=r"^full optimizer adamw8: --model\.optimizer adamw8: it takes one of adamw"):
        refuse_settings(parts, Pool(executor, [None]))
    assert executor.commands == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--no_forecast", "--seeds", "1"], ["--dry_run"]])
def test_compare_refuses_a_method_beside_weights_it_cannot_train_before_any_run_starts(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipes = ["configs/lora.yaml", "configs/full.yaml", "--config", "configs/offline.yaml"]
    with pytest.raises(SystemExit) as ended:
        main(["compare", *recipes, "--model.quantization", "nf4", *words])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{ONE_LINE}full: full fine-tuning cannot train weights in nf4: leave --model.quantization")
    assert not [path for path in Path().rglob("*") if path.name not in ("lightning_logs", "compare")]
