"""export: files that PEFT, transformers or onnxruntime load, proved by the run's test.

export RUN_DIR --to DIR --format adapter|merged|onnx
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft_lightning.commands.launchers import refuse_several
from peft_lightning.commands.one_line_parser import OneLineParser
from peft_lightning.commands.program import program
from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.given_paths import given_path
from peft_lightning.stop_signals import may_raise
from peft_lightning.task import headline_with


def run(words: Sequence[str]) -> None:
    """Runs the command.

    Args:
        words: The words after ``export``.

    Raises:
        UserError: If the user can put right what went wrong.
    """
    asked = _parser().parse_args(list(words))
    refuse_several("export", "writes its files from one process")
    if asked.public and asked.push is None:
        raise UserError(
            Setting("public"), " is for an upload: name its repository with ", Setting("push", "owner/name")
        )
    from peft_lightning.backbone.locations import EMBEDDED
    from peft_lightning.export.exporting import export, read_run
    from peft_lightning.export.request import Request
    from peft_lightning.export.upload import require_access, upload
    from peft_lightning.library_messages import quieten
    from peft_lightning.startup import import_bitsandbytes_without_compiler

    may_raise()
    quieten()
    import_bitsandbytes_without_compiler()
    request = Request(asked.format, asked.dtype, asked.quantize, asked.with_base)
    if asked.push is not None:
        name = read_run(asked.run)[1]["model"]["model_name_or_path"]
        if request.form == "adapter" and not request.with_base and name != EMBEDDED and given_path(name).is_dir():
            raise UserError(
                f"others do not have the backbone in {name}: upload it beside the adapter with ",
                Setting("with_base"),
                ", or use ",
                Setting("format", "merged"),
            )
        require_access(asked.push)
    report = export(asked.run, asked.to, request, asked.max_flips, asked.examples, asked.source, asked.push)
    print(in_words(report, asked.to))
    if asked.push is not None:
        print(f"uploaded: {upload(asked.to, asked.push, asked.public)}")


def _parser() -> OneLineParser:
    parser = OneLineParser(
        "export",
        description="Writes a run's best checkpoint as files that others load, and proves them: a fresh process loads"
        " them without this package and answers the run's test again. The folder holds a card, README.md, with the"
        " lines that load it, and the figures of the proof, export.json.",
        epilog=f"example: {program()} export lightning_logs/lora/version_0 --to mine --format merged --quantize int8."
        " Exit code 2 if the answers are others than the run's: the export is then kept in DIR.failed.",
    )
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="a run's directory: lightning_logs/lora/version_0")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder for the export, new or empty")
    parser.add_argument(
        "--format",
        choices=["adapter", "merged", "onnx"],
        default="adapter",
        help="adapter: what was trained, which plain PEFT loads beside the backbone; merged: a whole model, which plain"
        " transformers loads; onnx: a whole model for onnxruntime (default: adapter)",
    )
    parser.add_argument(
        "--quantize",
        choices=["int8", "nf4"],
        help="linear layers in eight or four bits: of a merged model by bitsandbytes, of onnx (int8) by onnxruntime",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16"],
        help="type of a merged model's weights (default: float32)",
    )
    parser.add_argument(
        "--max_flips",
        type=_count,
        metavar="N",
        help="answers that may be others than the run's, near ties aside (default: 0; of 200 examples 1 in 16-bit"
        " floats and 4 in few bits)",
    )
    parser.add_argument(
        "--examples", type=_positive, metavar="N", help="how many of the run's answers to replay (default: all)"
    )
    parser.add_argument("--source", metavar="DIR_OR_FILE", help="where the run's data lies now, if it has been moved")
    parser.add_argument(
        "--with_base", action="store_true", help="copy a backbone that is a local folder beside the adapter"
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the proved export to this repository on the hub")
    parser.add_argument("--public", action="store_true", help="make the repository public; a new one is private if not")
    return parser


def _count(word: str) -> int:
    return _at_least(word, 0)


def _positive(word: str) -> int:
    return _at_least(word, 1)


def _at_least(word: str, least: int) -> int:
    try:
        value = int(word)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{word} is no whole number of at least {least}")
    return value


def in_words(report: dict[str, Any], folder: Path) -> str:
    """Says what an export's proof has shown, in a line, and its notes.

    Args:
        report: The content of ``export.json``.
        folder: The export.
    """
    ties = f" ({report['near_ties']} near ties)" if report["near_ties"] else ""
    metric = headline_with(report["metric"])
    line = (
        f"{folder}: {report['examples']:,} answers replayed, {report['flips']} flips{ties}, greatest change"
        f" {report['greatest_change']:.1e}, {metric.name} {metric.words(report['before'])} ->"
        f" {metric.words(report['after'])};"
        f" {report['bytes'] / 2**20:.1f} MiB, one text {report['latency_ms']:.1f} ms, {report['texts_per_s']:.0f}"
        f" texts/s ({report['device']})"
    )
    return "\n".join([line, *(f"note: {note}" for note in report["notes"])])
