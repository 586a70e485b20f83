"""Writes the runs as PEFT's ``method_comparison`` has them, a JSON file for each run.

PEFT's own runs and these differ in task and protocol, so files of both belong into different folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from peft_lightning.compare.report.hiding import ALL_FOLDERS, NOTHING
from peft_lightning.compare.report.peft_layout import as_result
from peft_lightning.compare.report.reading import read_study
from peft_lightning.errors import UserError
from peft_lightning.runs.files import CannotWrite, write_atomically


def write_method_comparison(
    folder: Path,
    others: Sequence[Path],
    target: Path,
    folders_named: bool = True,
    in_place_of_null: int | None = None,
) -> None:
    """Writes a file for each run of a comparison that has a record.

    Args:
        folder: The comparison's folder.
        others: Directories of further runs that join it.
        target: The folder that gets the files; files of the same names in it are replaced.
        folders_named: Whether the files may name folders of this machine.
        in_place_of_null: The number to write where a cost was not measured; None for ``null``.

    Raises:
        UserError: If a folder holds no comparison or no run, or the files cannot be written.
    """
    study = read_study(folder, others)
    hide = NOTHING if folders_named else ALL_FOLDERS
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--method_comparison {target} cannot be made ({error.strerror}): name another folder"
        ) from error
    for recipe, run in study.runs:
        if run.record is None:
            continue
        content = as_result(study, recipe, run, run.record, hide, in_place_of_null)
        name = re.sub(r"[/\\]", "--", content["run_info"]["experiment_name"])
        try:
            text = json.dumps(content, indent=2, allow_nan=False)
            write_atomically(target / f"{name}.json", (text + "\n").encode(errors="backslashreplace"))
        except OSError as error:
            raise CannotWrite.because(error, target / f"{name}.json") from error
