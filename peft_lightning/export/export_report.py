"""The report of an export, ``export.json``: what was asked for, what its proof has shown, and its files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from peft_lightning import __version__
from peft_lightning.export.flips import decisions_differ
from peft_lightning.export.proof import Proof
from peft_lightning.export.written import Written
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import Task

SCHEMA = 1


def export_report(written: Written, proof: Proof, record: RunRecord) -> dict[str, Any]:
    """Returns the content of ``export.json``.

    Args:
        written: The export.
        proof: What its replay has shown.
        record: The run's record.
    """
    figures = proof.replayed.report
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
        "latency_ms": figures.get("latency_ms"),
        "texts_per_s": figures.get("texts_per_s"),
        "device": figures.get("device"),
        "machine": figures.get("machine"),
        "versions": figures.get("versions"),
        "files": files,
        "bytes": sum(files.values()),
        "load": written.code.at("FOLDER"),
        "in_pairs": written.texts.in_pairs,
        "max_length": written.texts.max_length,
        "truncation": written.texts.truncation,
        "window_stride": written.stride,
        "quantization_config": written.code.packed,
        "notes": written.notes,
        **({"traceback": figures["traceback"]} if "traceback" in figures else {}),
    }


def _plain_cut(proof: Proof, task: Task) -> dict[str, int] | None:
    """Counts the decisions on longer texts that are others where the tokenizer alone cuts them."""
    replayed = proof.replayed
    if replayed.plain is None or replayed.answers is None:
        return None
    differ = decisions_differ(task.calibrated(None), replayed.answers[replayed.plain_places], replayed.plain)
    return None if differ is None else {"longer_texts": len(differ), "flips": int(differ.sum())}
