"""Exports a run: writes the form that is asked for, proves it in a fresh process, and puts it in its place."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peft_lightning import __version__
from peft_lightning.backbone.heads import divide_head
from peft_lightning.backbone.tokenizers import load_tokenizer
from peft_lightning.errors import Setting, UserError
from peft_lightning.export.adapter_form import write_adapter
from peft_lightning.export.card import write_card
from peft_lightning.export.merged_form import write_merged
from peft_lightning.export.model_files import shared_by_windows, temperature_of, write_tokenizer
from peft_lightning.export.onnx_form import write_onnx
from peft_lightning.export.place import REPORT, Place
from peft_lightning.export.proof import Comparison, compare, decisions_differ, tolerance_of
from peft_lightning.export.replaying import Replay, Replayed, replay
from peft_lightning.export.request import Request
from peft_lightning.export.saved_answers import SavedAnswers, read_saved_answers
from peft_lightning.export.written import Written
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.recipes import Config, read_config
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import Task
from peft_lightning.task.calibration import Calibration

SCHEMA = 1


@dataclass(frozen=True)
class Proof:
    """What the replay of an export has shown.

    Args:
        comparison: Its answers beside the run's; None where it could not be loaded.
        replayed: What the fresh process says.
        max_flips: The most flips that were accepted.
        failure: Why the export is not proved; None if it is.
    """

    comparison: Comparison | None
    replayed: Replayed
    max_flips: int
    failure: str | None


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


def prove(exports: list[tuple[Written, SavedAnswers]], scratch: Path, max_flips: int | None = None) -> list[Proof]:
    """Replays the runs' answers through their exports, all in one fresh process.

    Args:
        exports: The exports, each with its run's answers.
        scratch: A folder for files in between.
        max_flips: The most flips to accept; None for the form's own bound.
    """
    replayed = replay([_asked(written, saved) for written, saved in exports], scratch)
    return [
        _judge(written, saved, answered, max_flips)
        for (written, saved), answered in zip(exports, replayed, strict=True)
    ]


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
    report = _report(written, proof, record)
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


def _asked(written: Written, saved: SavedAnswers) -> Replay:
    longer: list[int] = []
    if written.window is not None or written.stride is not None:
        tokenizer = load_tokenizer(str(written.folder))
        rows = tokenizer(list(saved.texts), truncation=False, verbose=False)["input_ids"]
        longer = [place for place, row in enumerate(rows) if len(row) > written.texts.max_length]
    task = _as_saved(written.task)
    return Replay(written.folder, written.code, saved.texts, written.window, longer, task, written.stride)


def _as_saved(task: Task) -> Task:
    """Returns the task whose answers to an export's logits are those that the run saved: the model's alone.

    The head was divided by the temperature, so that dividing by its inverse gives the model's own logits back.
    """
    temperature = temperature_of(task)
    return task.calibrated(None if temperature == 1.0 else Calibration(1 / temperature))


def _judge(written: Written, saved: SavedAnswers, replayed: Replayed, max_flips: int | None) -> Proof:
    share, count = written.request.lossy_share, len(saved.texts)
    bound = max_flips if max_flips is not None else math.ceil(share * count)
    if replayed.answers is None:
        return Proof(None, replayed, bound, f"loading it or answering failed ({replayed.report['error'][:300]})")
    if replayed.answers.shape != saved.answers.answers.shape:
        return Proof(None, replayed, bound, "it gives answers of another shape than the run's")
    comparison = compare(saved.answers, replayed.answers, tolerance_of(written.texts.precision, written.bits))
    failure = comparison.failure(bound, lossless=share == 0) or _other_labels(written.task, replayed.report)
    return Proof(comparison, replayed, bound, failure)


def _other_labels(task: Task, report: dict[str, Any]) -> str | None:
    expected = dict(enumerate(task.output_names))
    found = {int(number): name for number, name in report["id2label"].items()}
    if found != expected:
        return f"it calls its labels {', '.join(found.values())} and the run {', '.join(expected.values())}"
    return None


def _report(written: Written, proof: Proof, record: RunRecord) -> dict[str, Any]:
    told = proof.replayed.report
    files = {
        str(path.relative_to(written.folder)): path.stat().st_size
        for path in sorted(written.folder.rglob("*"))
        if path.is_file()
    }
    compared: dict[str, Any] = {} if proof.comparison is None else asdict(proof.comparison)
    if (low_high := compared.pop("interval", None)) is not None:
        compared["interval_before"] = low_high
    return {
        "schema": SCHEMA,
        "peft_lightning": __version__,
        "run_id": record.run_id,
        "format": written.request.form,
        "dtype": written.request.dtype,
        "quantize": written.request.quantize,
        "proved": proof.failure is None,
        "failure": proof.failure,
        "max_flips": proof.max_flips,
        "metric": written.task.headline.key,
        **compared,
        "plain_cut": _plain_cut(proof, written.task),
        "calibration": None if record.calibration is None else asdict(record.calibration),
        "latency_ms": told.get("latency_ms"),
        "texts_per_s": told.get("texts_per_s"),
        "device": told.get("device"),
        "machine": told.get("machine"),
        "versions": told.get("versions"),
        "files": files,
        "bytes": sum(files.values()),
        "load": written.code.at("FOLDER"),
        "in_pairs": written.texts.in_pairs,
        "max_length": written.texts.max_length,
        "truncation": written.texts.truncation,
        "window_stride": written.stride,
        "quantization_config": written.code.packed,
        "notes": written.notes,
        **({"traceback": told["traceback"]} if "traceback" in told else {}),
    }


def _plain_cut(proof: Proof, task: Task) -> dict[str, int] | None:
    """Counts the decisions on longer texts that are others where the tokenizer alone cuts them."""
    replayed = proof.replayed
    if replayed.plain is None or replayed.answers is None:
        return None
    differ = decisions_differ(task.calibrated(None), replayed.answers[replayed.plain_places], replayed.plain)
    return None if differ is None else {"longer_texts": len(differ), "flips": int(differ.sum())}


def _how_to_accept(proof: Proof) -> tuple[str | Setting, ...]:
    if proof.comparison is None or not proof.comparison.counted:
        return ()
    return (", to accept it: ", Setting("max_flips", proof.comparison.counted))
