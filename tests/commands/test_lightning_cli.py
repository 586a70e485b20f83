from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch.cli import LightningCLI

from peft_lightning.__main__ import main
from peft_lightning.commands import lightning_cli, trainer_parts
from peft_lightning.commands.command_settings import Settings
from peft_lightning.commands.setting_names import SECTIONS, TOP_LEVEL
from peft_lightning.engine import strategies
from peft_lightning.runs.background_io import BackgroundCheckpointIO
from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO


class Stop(BaseException):
    """Ends the program where the Trainer would be built."""


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (["cuda:0"], BackgroundCheckpointIO),
        (["cpu"], AtomicCheckpointIO),
        (["cuda:0", "cuda:1"], AtomicCheckpointIO),
        ([], AtomicCheckpointIO),  # of another kind
    ],
)
def test_checkpoints_are_written_in_the_background_on_one_gpu_only(
    devices: list[str], expected: type, tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def instantiate(self: LightningCLI, **settings: Any) -> None:
        given.extend(settings["plugins"])
        raise Stop

    monkeypatch.setattr(LightningCLI, "instantiate_trainer", instantiate)
    monkeypatch.setattr(trainer_parts, "devices_of", lambda *settings: [torch.device(name) for name in devices])
    # Which device a strategy can have is a matter of the machine.
    for name in ("SingleDeviceSteps", "DDPSteps"):
        monkeypatch.setattr(strategies, name, lambda *settings: "auto")
    with pytest.raises(Stop):
        main(tiny_fit)
    assert [type(plugin) for plugin in given] == [expected]


@pytest.mark.parametrize(
    ("word", "own"),
    [
        (
            "fit",
            {"recipe": None, "test_after_fit": True, "rehearsal": False, "live": False, "live_interval_s": 5.0},
        ),
        ("validate", {}),
        ("test", {}),
        ("predict", {"output": None}),
    ],
)
def test_a_command_s_own_flags_are_options_and_no_part_of_the_configuration(
    word: str, own: dict[str, object], tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Settings] = []

    def instantiate(self: lightning_cli.PeftLightningCLI, **given: Any) -> None:
        found.append(self.command.settings)
        raise Stop

    monkeypatch.setattr(LightningCLI, "instantiate_trainer", instantiate)
    with pytest.raises(Stop):
        main([word, *tiny_fit[1:]])
    (settings,) = found
    assert {name: settings.options[name] for name in settings.options if name not in ("config", "ckpt_path")} == own
    # What `compare` takes for a setting, without building a parser.
    assert sorted(settings.config) == sorted([*SECTIONS, *TOP_LEVEL])
