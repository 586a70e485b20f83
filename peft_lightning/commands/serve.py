"""serve: answer texts over HTTP, with a run or an export.

serve RUN_DIR_OR_EXPORT [--port 8000]
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from peft_lightning.commands.launchers import refuse_several
from peft_lightning.commands.one_line_parser import OneLineParser
from peft_lightning.commands.program import program
from peft_lightning.errors import UserError
from peft_lightning.library_messages import quieten
from peft_lightning.startup import import_bitsandbytes_without_compiler
from peft_lightning.stop_signals import may_raise

_LOOPBACK = ("localhost", "::1")


def run(words: Sequence[str]) -> None:
    """Runs the command.

    Args:
        words: The words after ``serve``.

    Raises:
        UserError: If the user can put right what went wrong.
    """
    asked = _parser().parse_args(list(words))
    refuse_several("serve", "answers from one process")
    lacking = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if lacking:
        raise UserError(f"serve needs {' and '.join(lacking)}: pip install 'peft-lightning[serve]'")
    import torch

    from peft_lightning.serving.app import RequestLimits, make_app
    from peft_lightning.serving.batching import BatchLimits
    from peft_lightning.serving.folders import load_answerer
    from peft_lightning.serving.running import bound_socket, serve

    may_raise()
    quieten()
    import_bitsandbytes_without_compiler()
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {asked.device}: torch finds no such GPU here")
    with bound_socket(asked.host, asked.port) as listening:
        device = None if asked.device == "auto" else torch.device(asked.device)
        answerer = load_answerer(asked.folder, asked.ckpt_path, device)
        on_gpu = answerer.device.type == "cuda"
        batching = BatchLimits(
            tokens=asked.batch_tokens,
            # On two cores of a Xeon a batch costs what 100 tokens cost; on a GPU its launches cost what thousands do.
            padding=4096 if on_gpu else 128,
            waiting=asked.max_waiting,
            wait_s=asked.wait_ms / 1000,
        )
        app = make_app(answerer, RequestLimits(asked.max_texts, asked.max_bytes), batching)
        host = f"[{asked.host}]" if ":" in asked.host else asked.host
        # From here on connections wait instead of being refused.
        listening.listen(1024)
        print(f"serving {asked.folder} at http://{host}:{listening.getsockname()[1]}", flush=True)
        if not (asked.host.startswith("127.") or asked.host in _LOOPBACK):
            print("anybody who reaches this address may ask it: it asks nobody for a password", file=sys.stderr)
        serve(app, listening)


def _parser() -> OneLineParser:
    parser = OneLineParser(
        "serve",
        description="Answers texts over HTTP: POST /predict takes one text or many, GET /health says what is served,"
        " and / is a page to type a text into. Of a run on pairs of texts a text is a pair. Ctrl-C or a signal ends it"
        " when what was asked is answered.",
        epilog=f"example: {program()} serve lightning_logs/lora/version_0 --port 8000; then curl -H 'content-type:"
        """ application/json' -d '{"text": "a joy of a film"}' http://127.0.0.1:8000/predict""",
    )
    parser.add_argument(
        "folder",
        type=Path,
        metavar="RUN_DIR_OR_EXPORT",
        help="a run's directory, such as lightning_logs/lora/version_0, or a folder with a merged model, an adapter or"
        " an ONNX model, as transformers, PEFT and export save them, and its tokenizer",
    )
    parser.add_argument("--ckpt_path", default="best", help="which weights of a run: best (the default), last, a file")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 127.0.0.1 is for this machine alone")
    parser.add_argument("--port", type=_within(0, 65535), default=8000, help="port; 0 takes any that is free")
    parser.add_argument("--device", default="auto", help="auto (the default: a GPU if there is one), cpu, cuda, cuda:1")
    many = _within(1, 2**31)
    parser.add_argument("--max_texts", type=many, default=256, help="texts that a request may have (256)")
    parser.add_argument("--max_bytes", type=many, default=1_000_000, help="bytes that its body may have (1,000,000)")
    parser.add_argument(
        "--max_waiting", type=many, default=1024, help="texts that may wait; further requests get 503 (1,024)"
    )
    parser.add_argument("--batch_tokens", type=many, default=8192, help="tokens that are computed together (8,192)")
    parser.add_argument(
        "--wait_ms", type=_within(0, 10_000), default=2, help="milliseconds that a lone text waits for others (2)"
    )
    return parser


def _within(least: int, most: int) -> Callable[[str], int]:
    def number(word: str) -> int:
        value = int(word)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not from {least} to {most:,}")
        return value

    number.__name__ = "whole number"
    return number
