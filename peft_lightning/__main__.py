"""python -m peft_lightning: dispatches on the first word, and turns what a user can get wrong into one line."""

import sys
from typing import NoReturn

from peft_lightning import __version__
from peft_lightning.errors import Setting, UserError

COMMANDS = ("fit", "validate", "test", "predict", "compare", "report")

HELP = f"""\
peft-lightning {__version__}: which fine-tuning method should I use, on my data and my GPU?

  python -m peft_lightning fit --config configs/qlora.yaml        train, measure, test, record
  python -m peft_lightning fit --config ... --ckpt_path last      go on where a killed run stopped
  python -m peft_lightning test|validate --config RUN_DIR/config.yaml --ckpt_path best|last|FILE
  python -m peft_lightning predict --config RUN_DIR/config.yaml --ckpt_path best \\
      --data.predict_file reviews.txt [--output out.jsonl]
  tensorboard --logdir lightning_logs                             watch
  python -m peft_lightning compare configs/lora.yaml configs/ia3.yaml [--seeds 1 2 3]
                                                                  which one? every recipe, several seeds
  python -m peft_lightning report lightning_logs/compare/NAME     its report again, from the records

recipes    configs/full.yaml lora.yaml qlora.yaml ia3.yaml head.yaml; configs/study/*.yaml: as published;
           configs/tuned_on_embedded/*.yaml: for the backbone in the package
overlays   a further --config states differences only; configs/offline.yaml needs no download,
           configs/lean.yaml trains any recipe in the least memory
overrides  any setting by its name: --data.n_train 1000 --model.method.r 4 --trainer.max_epochs 1

  python -m peft_lightning fit --help      every setting, with its default
  python -m peft_lightning compare --help  how a comparison is run
  --version                                print the version
  --debug                                  show the traceback behind a one-line error
"""


def fail(message: str) -> NoReturn:
    """Ends the process as a user's mistake ends: one line, exit code 2.

    Args:
        message: What is wrong and how to mend it; line breaks are folded.
    """
    print(f"peft_lightning: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Runs one command of the command line.

    Args:
        arguments: The words after the program's name; those of this process if not given.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return
    if words[0] == "--version":
        print(__version__)
        return
    if words[0] not in COMMANDS:
        fail(f"unknown command {words[0]!r}: the commands are {', '.join(COMMANDS)} (--help explains them)")
    try:
        _run(words, is_program=arguments is None)
    except ModuleNotFoundError as error:
        # Our own modules are there; what they need is not, where another Python than the environment's runs them.
        if debug or error.name is None or error.name.startswith("peft_lightning"):
            raise
        fail(
            f"{error.name} is not installed for {sys.executable}: use the environment that `make install` makes"
            " (. .venv/bin/activate), or run pip install . in your own"
        )
    except UserError as error:
        if debug:
            raise
        fail(error.worded(Setting.as_flag))


def _run(words: list[str], is_program: bool) -> None:
    if words[0] == "report":  # which needs neither torch nor Lightning
        from peft_lightning.commands.report import run_report

        run_report(words[1:])
        return
    if words[0] == "compare":  # which itself needs neither torch nor Lightning
        from peft_lightning.commands.compare import run_compare

        run_compare(words[1:])
        return
    from peft_lightning.startup import import_torchmetrics_without_extras, importing

    with importing(for_good=is_program):
        import_torchmetrics_without_extras()
        from peft_lightning.cli import run_command

    run_command(words)


if __name__ == "__main__":
    main()
