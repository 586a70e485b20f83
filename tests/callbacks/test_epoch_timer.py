from pathlib import Path

import pytest

from peft_lightning.callbacks import epoch_timer
from peft_lightning.callbacks.epoch_timer import EpochTimer
from tests.callbacks import scripted
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer
from tests.scripted_time import ScriptedTime

TRAIN_S, EVAL_S = 0.05, 0.4


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only batches take time: what a machine does between them has no length that a test could know."""
    time = ScriptedTime()
    monkeypatch.setattr(epoch_timer, "time", time)
    monkeypatch.setattr(scripted, "time", time)


def test_training_and_evaluation_are_timed_apart(tmp_path: Path) -> None:
    timer = EpochTimer()
    module = ScriptedModule(train_s=TRAIN_S, eval_s=EVAL_S)
    watched = trainer(tmp_path, timer, max_epochs=2)
    watched.fit(module, datamodule=ScriptedData(train=3, val=1))
    figures = timer.figures()
    assert figures["steps"] == 6
    assert figures["epoch_s"] == pytest.approx([3 * TRAIN_S] * 2)
    assert figures["train_s"] == pytest.approx(6 * TRAIN_S)
    assert figures["eval_s"] == pytest.approx(2 * EVAL_S)
    assert figures["samples_per_s"] == pytest.approx(6 / figures["train_s"])
    assert figures["startup_s"] > 0
    assert figures["start"] == "cold"
    # When training is over the clock stands still, whatever comes after.
    watched.validate(module, datamodule=ScriptedData(val=1), verbose=False)
    assert timer.figures()["train_s"] == figures["train_s"]
    assert timer.figures()["eval_s"] == pytest.approx(3 * EVAL_S)


def test_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    first = EpochTimer()
    trainer(tmp_path, first).fit(ScriptedModule(train_s=TRAIN_S), datamodule=ScriptedData(train=3))
    state = first.state_dict()
    second = EpochTimer()
    second.load_state_dict(state)
    trainer(tmp_path, second).fit(ScriptedModule(train_s=TRAIN_S), datamodule=ScriptedData(train=2))
    assert second.startup_s == first.startup_s
    assert second.start == first.start == "cold"
    assert second.epoch_s[0] == first.epoch_s[0]
    assert second.epoch_s == pytest.approx([3 * TRAIN_S, 2 * TRAIN_S])
    assert second.train_s == pytest.approx(5 * TRAIN_S)
    assert second.figures()["samples_per_s"] == pytest.approx(5 / second.train_s)


def test_a_state_taken_while_the_clock_runs_holds_the_time_so_far(tmp_path: Path) -> None:
    timer = EpochTimer()
    seen: list[float] = []

    class Watching(ScriptedModule):
        def on_train_batch_end(self, *args: object) -> None:
            seen.append(timer.state_dict()["current_s"])

    trainer(tmp_path, timer).fit(Watching(train_s=TRAIN_S), datamodule=ScriptedData(train=3))
    assert seen == pytest.approx([TRAIN_S, 2 * TRAIN_S, 3 * TRAIN_S])


def test_what_was_not_measured_is_none() -> None:
    figures = EpochTimer().figures()
    assert [figures[name] for name in ("startup_s", "train_s", "eval_s", "eval_rows", "samples_per_s")] == [None] * 5


def test_the_rows_of_evaluations_before_a_resume_are_known_or_none_are(tmp_path: Path) -> None:
    first = EpochTimer()
    first._count_rows({"input_ids": [[1], [2], [3]]})
    state = first.state_dict()
    for before, after in ((state, 5), ({name: state[name] for name in state if name != "eval_rows"}, None)):
        second = EpochTimer()
        second.load_state_dict(before)
        second._count_rows({"input_ids": [[1], [2]]})
        assert second.figures()["eval_rows"] == after
