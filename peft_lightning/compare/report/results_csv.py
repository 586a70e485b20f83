"""``results.csv``: a row for each run, in plain numbers; a figure that was not measured is empty.

A text that begins as a formula does, such as an error about ``--data.n_train``, has an apostrophe before it.
"""

import csv
import dataclasses
import io
from collections.abc import Sequence

from peft_lightning.compare.plan.folder_names import FORMULAS
from peft_lightning.compare.report.hiding import NOTHING, Hiding
from peft_lightning.compare.report.study import Study
from peft_lightning.runs.record import SECTIONS
from peft_lightning.task import task_named
from peft_lightning.task.metric import LOSS

SHOWN = ("params", "memory", "time")
LISTS = ("epoch_s",)


def as_csv(study: Study, hide: Hiding = NOTHING) -> str:
    """Returns the runs as CSV, a row for each.

    Args:
        study: The runs.
        hide: Changes texts and settings that may contain paths of this machine.
    """
    return written(csv_rows(study, hide))


def csv_rows(study: Study, hide: Hiding = NOTHING) -> list[dict[str, object]]:
    """Returns the cells of each run, by the name of their column.

    Args:
        study: The runs.
        hide: Changes texts and settings that may contain paths of this machine.
    """
    rows: list[dict[str, object]] = []
    metrics = _metrics(study)
    for recipe, run in study.runs:
        record = run.record
        row: dict[str, object] = {"recipe": recipe.label, "seed": run.seed, "status": run.state}
        row["method"] = record.method if record else None
        for section in SHOWN:
            figures = getattr(record, section) if record else None
            for field in dataclasses.fields(SECTIONS[section]):
                if field.name not in LISTS:
                    row[f"{section}/{field.name}"] = getattr(figures, field.name, None)
        epochs = record.time.epoch_s if record else []
        row["time/epoch_s"] = sum(epochs) / len(epochs) if epochs else None
        row |= {name: record.metrics.get(name) if record else None for name in metrics}
        row["checkpoint_bytes"] = record.checkpoint_bytes if record else None
        row |= {
            "n_train": record.dataset.n_train if record and record.dataset else None,
            "n_test": record.dataset.n_test if record and record.dataset else None,
            "backbone": hide.value(record.backbone.name) if record and record.backbone else None,
            "device": record.environment.device if record and record.environment else None,
            "precision": record.environment.precision if record and record.environment else None,
            "run": run.place,
            "error": hide.text(run.error) if run.error else None,
        }
        rows.append(row)
    return rows


def _metrics(study: Study) -> list[str]:
    """Returns the metric that recipes are compared by, others of the task, then those of tasks whose runs joined."""
    joined = [task_named(run.record.problem_type) for _, run in study.runs if run.record is not None]
    every = (*study.shown, *(metric for task in joined for metric in task.shown()))
    keys = dict.fromkeys(metric.key for metric in every)
    return [f"{split}/{key}" for split in ("test", "val") for key in (*keys, LOSS.key)]


def written(rows: Sequence[dict[str, object]]) -> str:
    """Writes rows as CSV; a column that a row lacks is empty in it."""
    text = io.StringIO(newline="")
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    """Puts an apostrophe before a text that a spreadsheet would run as a formula; numbers stay as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith((*FORMULAS, "\t", "\r")) else value
