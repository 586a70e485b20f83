"""The text of a bare ``--help``: the commands by their own docstrings, and notes on all of them."""

from peft_lightning import __version__
from peft_lightning.commands.program import program
from peft_lightning.commands.registry import list_commands
from peft_lightning.commands.shorthands import SHORTHANDS

_NOTES = """\
watch      tensorboard --logdir lightning_logs
recipes    configs/full.yaml lora.yaml qlora.yaml ia3.yaml head.yaml; configs/study/*.yaml: as published;
           configs/tuned_on_embedded/*.yaml: for the backbone in the package;
           configs/peft/*.yaml: PEFT's other methods, --method vera;
           configs/decoder/*.yaml: for decoders of 0.5 to 7 billion weights
overlays   a further --config states differences only; configs/offline.yaml needs no download,
           configs/lean.yaml trains any recipe in the least memory
overrides  any setting by its name: --data.n_train 1000 --model.method.r 4 --trainer.max_epochs 1
"""


def overview() -> str:
    """Returns the help of the whole program."""
    start = program()
    lines = [f"peft-lightning {__version__}: which fine-tuning method should I use, on my data and my GPU?", ""]
    for command in list_commands():
        lines += [f"{command.word:9}  {command.summary}", *(f"    {start} {line}" for line in command.usage)]
    width = max(map(len, SHORTHANDS))
    short = [f"{name:{width}}  {meaning}" for name, meaning in SHORTHANDS.items()]
    lines += ["", *_NOTES.splitlines(), f"shorthands {short[0]}", *(" " * 11 + line for line in short[1:])]
    lines += [
        "",
        f"{start} fit --help      every setting, with its default",
        f"{start} compare --help  how a comparison is run",
        "--version                print the version",
        "--debug                  show the traceback behind a one-line error",
    ]
    return "\n".join(lines) + "\n"
