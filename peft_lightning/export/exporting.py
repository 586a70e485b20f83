"""Exports a run: writes the form that is asked for, proves it in a fresh process, and puts it in its place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peft_lightning.backbone.heads import divide_head
from peft_lightning.errors import Setting, UserError
from peft_lightning.export.adapter_form import write_adapter
from peft_lightning.export.card import write_card
from peft_lightning.export.export_report import export_report
from peft_lightning.export.merged_form import write_merged
from peft_lightning.export.model_files import shared_by_windows, temperature_of, write_tokenizer
from peft_lightning.export.onnx_form import write_onnx
from peft_lightning.export.place import REPORT, Place
from peft_lightning.export.proof import Proof, prove
from peft_lightning.export.request import Request
from peft_lightning.export.saved_answers import read_saved_answers
from peft_lightning.export.written import Written
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.recipes import Config, read_config
from peft_lightning.runs.record import RunRecord


def export(
    run: Path,
    to: Path,
    request: Request,
    max_flips: int | None = None,
    examples: int | None = None,
    source: str | None = None,
    repository: str | None = None,
) -> dict[str, Any]:
    """Exports a run's best checkpoint, and proves that the export gives the run's answers.

    Args:
        run: The run's directory.
        to: The folder for the export; it must not exist, or be empty.
        request: What is to be exported.
        max_flips: The most answers that may be others than the run's, near ties aside; None for 0 where the form loses
            nothing, and for a share of the examples where it does.
        examples: How many of the run's answers to replay; None for all.
        source: Where the run's texts lie now; None for where the run read them.
        repository: The hub's ``owner/name`` that the card is written for; None where it is to stay local.

    Returns:
        The content of ``export.json``.

    Raises:
        UserError: The run cannot be exported so, or the export does not give the run's answers; it is then kept in
            ``TO.failed``.
    """
    place = Place(to)
    record, config = read_run(run)
    saved = read_saved_answers(run, record, config, examples, source)
    with place.making() as folder, TemporaryDirectory(prefix="peft_lightning_") as scratch:
        written = write(run, folder, request)
        (proof,) = prove([(written, saved)], Path(scratch), max_flips)
        report = finish(written, proof, record, config, repository or to.name, repository is not None)
        if proof.failure is not None:
            aside = place.keep_aside()
            raise UserError(f"the export is not proved: {proof.failure}; it is kept in {aside}", *_how_to_accept(proof))
        place.take()
    return report


def read_run(run: Path) -> tuple[RunRecord, Config]:
    """Reads a run's record and configuration.

    Args:
        run: The run's directory.

    Raises:
        UserError: It is no run's directory.
    """
    if not (run / "results.json").is_file() or not (run / "config.yaml").is_file():
        raise UserError(f"{run} holds no run: name a run's directory, such as lightning_logs/lora/version_0")
    return RunRecord.read(run / "results.json"), read_config(run / "config.yaml")


def write(run: Path, folder: Path, request: Request) -> Written:
    """Writes an export's files, without its report and card.

    Args:
        run: The run's directory.
        folder: An empty folder.
        request: What is to be exported.

    Raises:
        UserError: The run cannot be exported so.
    """
    module = TextClassifier.load_trained(run, plain=request.form != "adapter")
    task, texts = module.task, module.text_settings
    if task is None or texts is None or module.model is None:
        raise RuntimeError("load_trained() has loaded no task")
    notes: list[str] = []
    if (temperature := temperature_of(task)) != 1.0:
        divide_head(module.model, task.num_outputs, temperature)
    if request.form == "adapter":
        code, notes = write_adapter(module, task, folder, request.with_base)
    elif request.form == "merged":
        code = write_merged(module, task, folder, request.dtype, request.quantize)
    else:
        token_types = texts.in_pairs and texts.tokeniser().token_types
        code, notes = write_onnx(module, task, folder, request.quantize, token_types)
    window = write_tokenizer(folder, texts)
    stride = shared_by_windows(folder, texts)
    return Written(folder, request, code, window, task, module.quantization, texts, notes, stride)


def finish(
    written: Written, proof: Proof, record: RunRecord, config: Config, name: str, on_hub: bool
) -> dict[str, Any]:
    """Writes an export's report and card.

    Args:
        written: The export.
        proof: What its replay has shown.
        record: The run's record.
        config: The run's configuration.
        name: The export's name on the card.
        on_hub: Whether the name is a repository's.

    Returns:
        The report.
    """
    report = export_report(written, proof, record)
    write_card(written.folder / "README.md", report, written, record, config, name, on_hub)
    (written.folder / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _share(written.folder)
    return report


def _share(folder: Path) -> None:
    """Gives every file the user's usual rights: safetensors writes files that nobody else may read."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)


def _how_to_accept(proof: Proof) -> tuple[str | Setting, ...]:
    if proof.comparison is None or not proof.comparison.counted:
        return ()
    return (", to accept it: ", Setting("max_flips", proof.comparison.counted))
