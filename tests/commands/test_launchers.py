"""Commands of one process under launchers; tests/integration/test_launched_processes.py has real ones."""

import pytest

from peft_lightning.__main__ import main
from peft_lightning.commands.launchers import launch

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
# As SLURM 22.05 tells the tasks of a step; a job's script, which runs once, is told all but the step's.
SCRIPT = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
SRUN = SCRIPT | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}


@pytest.mark.parametrize(
    ("told", "mend"),
    [(TORCHRUN, "torchrun has started 2: start it without torchrun"), (SRUN, "start it with srun --ntasks=1")],
    ids=["torchrun", "srun"],
)
@pytest.mark.parametrize(
    "words", [["serve", "run"], ["report", "folder"], ["export", "run", "--to", "out"], ["compare", "lora.yaml"]]
)
def test_a_command_of_one_process_is_refused_in_one_line_under_a_launcher(
    words: list[str],
    told: dict[str, str],
    mend: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"peft_lightning: error: {words[0]} ")
    assert mend in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("told", [{}, SCRIPT, SRUN | {"SLURM_STEP_NUM_TASKS": "1"}, TORCHRUN | {"WORLD_SIZE": "1"}])
def test_one_process_is_alone_also_in_a_job_of_several_tasks(
    told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert launch() is None
