from lightning.pytorch.cli import LightningArgumentParser

from peft_lightning.options import COMMAND_OPTIONS, add_launching_options


def test_every_flag_of_a_command_is_kept_out_of_the_configuration() -> None:
    added: set[str] = set()
    for word in ("fit", "validate", "test", "predict"):
        parser = LightningArgumentParser()
        parser.add_argument_group("of Lightning").add_argument("--ckpt_path")
        before = {action.dest for action in parser._actions}
        add_launching_options(parser, word)
        added |= {action.dest for action in parser._actions} - before
    assert added == set(COMMAND_OPTIONS)
