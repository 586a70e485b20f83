from types import SimpleNamespace
from typing import Any, cast

import pytest
from lightning.pytorch import Trainer
from transformers import BartConfig, OPTConfig, PretrainedConfig, RobertaConfig

from peft_lightning.commands.skipped_layers import refuse_skipped_layers
from peft_lightning.errors import UserError


def run(processes: int) -> Trainer:
    return cast("Trainer", cast("Any", SimpleNamespace(world_size=processes)))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (OPTConfig(layerdrop=0.1), "layerdrop 0.1 of the model's configuration .* 2 processes.* set layerdrop to 0"),
        (BartConfig(decoder_layerdrop=0.2), "decoder_layerdrop 0.2 .* or train on one device"),
    ],
)
def test_layers_that_are_skipped_at_random_are_for_one_process(config: PretrainedConfig, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        refuse_skipped_layers(run(2), config)
    refuse_skipped_layers(run(1), config)


@pytest.mark.parametrize("config", [OPTConfig(), BartConfig(), RobertaConfig()])
def test_what_skips_none_is_for_any_number_of_processes(config: PretrainedConfig) -> None:
    refuse_skipped_layers(run(2), config)
