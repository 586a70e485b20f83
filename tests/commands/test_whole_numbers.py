"""`--trainer.limit_train_batches 1` is one batch, in whatever order other libraries have asked for the types."""

import inspect
import typing
from typing import Any, Union

import pytest
import yaml
from lightning.pytorch import Trainer

from peft_lightning.__main__ import main
from peft_lightning.commands.whole_numbers import try_whole_numbers_first

LIMITS = ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches")


@pytest.mark.parametrize(("given", "expected"), [("1", 1), ("1.0", 1.0), ("0.5", 0.5), ("null", None)])
def test_one_is_a_batch_and_a_share_is_a_share(
    given: str, expected: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in LIMITS:
        monkeypatch.setitem(Trainer.__init__.__annotations__, name, Union[float, int, None])  # noqa: UP007
    limits = [word for name in LIMITS for word in (f"--trainer.{name}", given)]
    with pytest.raises(SystemExit):
        main(["fit", "--config", "configs/lora.yaml", *limits, "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)["trainer"]
    assert [repr(printed[name]) for name in LIMITS] == [repr(expected)] * 4


def test_only_the_order_of_the_two_changes() -> None:
    def function(share: Union[float, str, int], other: Union[int, float], plain: float) -> None: ...  # noqa: UP007

    before = dict(function.__annotations__)
    try_whole_numbers_first(function)
    assert typing.get_args(function.__annotations__["share"]) == (int, float, str)
    assert {name: function.__annotations__[name] for name in ("other", "plain")} == {
        name: before[name] for name in ("other", "plain")
    }
    assert list(inspect.signature(function).parameters) == ["share", "other", "plain"]
