"""Exports a short run of every recipe in every form, proves each, and writes the table of `docs/export.md`.

    python benchmarks/export_table.py --out DIR                                   # a tiny random encoder, all recipes
    python benchmarks/export_table.py --out DIR --backbone embedded --source IMDB --n_train 1000 --n_test 500 \
        --recipes tuned_on_embedded/lora tuned_on_embedded/qlora --forms adapter merged int8 nf4 onnx onnx_int8

Every run is trained in this process, one after the other, and exported; one fresh process then replays all of them. The
figures lie in `export_table.json`, the table in `export_table.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peft_lightning.__main__ import main as peft_lightning
from peft_lightning.errors import Setting, UserError
from peft_lightning.export.exporting import finish, read_run, write
from peft_lightning.export.proof import prove
from peft_lightning.export.request import Request
from peft_lightning.export.saved_answers import SavedAnswers, read_saved_answers
from peft_lightning.export.written import Written
from peft_lightning.recipes import Config
from peft_lightning.runs.record import RunRecord

ROOT = Path(__file__).resolve().parents[1]
FORMS = {
    "adapter": Request("adapter", with_base=True),
    "merged": Request("merged"),
    "bfloat16": Request("merged", dtype="bfloat16"),
    "int8": Request("merged", quantize="int8"),
    "nf4": Request("merged", quantize="nf4"),
}
ONNX = ("onnx", "onnx_int8")
OVERLAYS = ("lean", "offline")
# What a type needs where the encoder is 64 wide, or the run a few steps long.
SMALL = {
    "adalora": {"tinit": 1, "tfinal": 1},
    "c3a": {"block_size": 16},
    "vblora": {"num_vectors": 32, "vector_length": 16},
}


class FitFailed(Exception):
    """A run that did not finish; its message is the program's last line."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        recipe: Its recipe's name.
        folder: Its directory.
        record: Its record.
        config: Its configuration.
        saved: The answers of its test.
    """

    recipe: str
    folder: Path
    record: RunRecord
    config: Config
    saved: SavedAnswers


def main(words: Sequence[str] | None = None) -> None:
    """Trains, exports, proves and writes the table.

    Args:
        words: The command line; None for this process's.
    """
    asked = _arguments(words)
    asked.out.mkdir(parents=True, exist_ok=True)
    out = asked.out.resolve()
    backbone = str(tiny_encoder(out / "tiny_encoder")) if asked.backbone == "tiny" else asked.backbone
    rows: list[dict[str, Any]] = []
    waiting: list[tuple[Run, str, Written]] = []
    source = asked.source if asked.source == "embedded" else str(Path(asked.source).resolve())
    for recipe in asked.recipes or all_recipes():
        try:
            run = trained(recipe, backbone, source, out, asked)
        except FitFailed as error:
            rows.append({"recipe": recipe, "form": "run", "refused": str(error)})
            continue
        for form in asked.forms:
            folder = out / "exports" / f"{recipe.replace('/', '_')}_{form}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                with _silent():
                    waiting.append((run, form, write(run.folder, folder, request(form))))
            except UserError as error:
                shutil.rmtree(folder)
                rows.append({"recipe": recipe, "form": form, "refused": error.worded(Setting.as_flag)})
        print(recipe, flush=True)
    with TemporaryDirectory() as scratch:
        proofs = prove([(written, run.saved) for run, _, written in waiting], Path(scratch))
    for (run, form, written), proof in zip(waiting, proofs, strict=True):
        report = finish(written, proof, run.record, run.config, written.folder.name, on_hub=False)
        rows.append({"recipe": run.recipe, "form": form, **report})
    rows.sort(key=lambda row: str(row["recipe"]))
    (out / "export_table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    table = as_table(rows, asked.forms)
    (out / "export_table.md").write_text(table, encoding="utf-8")
    print(table)
    if any(row.get("proved") is False for row in rows):
        sys.exit(1)


def all_recipes() -> list[str]:
    """Returns the names of all recipes in `configs/` and `configs/peft/`."""
    files = [*sorted((ROOT / "configs").glob("*.yaml")), *sorted((ROOT / "configs" / "peft").glob("*.yaml"))]
    return [file.stem for file in files if file.stem not in OVERLAYS]


def request(form: str) -> Request:
    """Returns what a column of the table asks for.

    Args:
        form: The column, a key of ``FORMS`` or ``ONNX``.
    """
    if form in FORMS:
        return FORMS[form]
    return Request("onnx", quantize="int8" if form == "onnx_int8" else None)


def trained(recipe: str, backbone: str, source: str, out: Path, asked: argparse.Namespace) -> Run:
    """Trains a recipe, or takes the run of an earlier call with the same `--out`.

    Args:
        recipe: The recipe's name.
        backbone: The backbone.
        source: The data.
        out: The folder of the runs.
        asked: The command line.
    """
    root = out / "runs" / recipe
    if not (found := sorted(root.glob("lightning_logs/*/version_*/predictions.parquet"))):
        named = ["--config", f"configs/{recipe}.yaml"] if "/" in recipe else ["--method", recipe]
        words = ["fit", *named, "--model.model_name_or_path", backbone, "--data.source", source]
        words += ["--data.n_train", str(asked.n_train), "--data.n_val", str(asked.n_val)]
        words += ["--data.n_test", str(asked.n_test), "--data.max_length", str(asked.max_length)]
        words += ["--trainer.max_epochs", str(asked.epochs), "--trainer.default_root_dir", str(root)]
        words += ["--trainer.enable_progress_bar", "false"]
        if backbone.endswith("tiny_encoder"):
            words += ["--trainer.accelerator", "cpu", "--model.learning_rate", "1e-2", "--trainer.precision", "32-true"]
            for name, value in SMALL.get(recipe, {}).items():
                words += [f"--model.method.config.{name}", str(value)]
        errors = io.StringIO()
        try:
            with _silent(), contextlib.redirect_stderr(errors):
                peft_lightning(words)
        except SystemExit as error:
            raise FitFailed((errors.getvalue().strip().splitlines() or [""])[-1]) from error
        found = sorted(root.glob("lightning_logs/*/version_*/predictions.parquet"))
    folder = found[-1].parent
    record, config = read_run(folder)
    with _silent():
        return Run(recipe, folder, record, config, read_saved_answers(folder, record, config))


def tiny_encoder(folder: Path) -> Path:
    """Writes a RoBERTa of two layers × 64 with random weights, and the tokenizer of the embedded backbone.

    Args:
        folder: The folder to write to.
    """
    import torch
    from transformers import AutoModelForMaskedLM, RobertaConfig

    from peft_lightning.backbone.locations import EMBEDDED_FOLDER, quiet_transformers

    config = RobertaConfig.from_pretrained(EMBEDDED_FOLDER)
    config.update({"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4})
    with torch.random.fork_rng(), quiet_transformers():
        torch.manual_seed(1)
        AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    for file in EMBEDDED_FOLDER.iterdir():
        if file.name.startswith(("tokenizer", "vocab", "merges", "special_tokens")):
            shutil.copy(file, folder)
    return folder


def as_table(rows: Sequence[dict[str, Any]], forms: Sequence[str]) -> str:
    """Returns the table: recipe × form, the library, flips, greatest change; below it why a form is missing.

    Args:
        rows: The rows of `export_table.json`.
        forms: The columns.
    """
    lines = [f"| recipe | {' | '.join(forms)} |", f"| --- |{' ---: |' * len(forms)}"]
    reasons: list[str] = []
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        cells = {row["form"]: row for row in rows if row["recipe"] == recipe}
        if "run" in cells:
            reasons.append(f"{recipe}: {cells['run']['refused']}")
        lines.append(f"| {recipe} | {' | '.join(_cell(cells.get(form), reasons) for form in forms)} |")
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def _cell(row: dict[str, Any] | None, reasons: list[str]) -> str:
    if row is None:
        return "–"
    if (why := row.get("refused") or (None if row["proved"] else row["failure"])) is not None:
        if why not in reasons:
            reasons.append(why)
        return f"{'–' if 'refused' in row else 'not proved'} ({reasons.index(why) + 1})"
    return f"{row['flips']} of {row['examples']}, {row['greatest_change']:.0e}"


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, exports and the table")
    parser.add_argument(
        "--recipes", nargs="+", default=[], help="recipes by name, or as FOLDER/NAME below configs/ (default: all)"
    )
    parser.add_argument("--forms", nargs="+", default=["adapter", "merged"], choices=[*FORMS, *ONNX])
    parser.add_argument("--backbone", default="tiny", help="tiny, embedded, a folder or a name on the hub")
    parser.add_argument("--source", default="embedded", help="data source, as data.source takes it")
    parser.add_argument("--n_train", type=int, default=32)
    parser.add_argument("--n_val", type=int, default=8)
    parser.add_argument("--n_test", type=int, default=16)
    parser.add_argument("--max_length", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=1)
    return parser.parse_args(words)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
