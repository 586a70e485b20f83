"""An export that is written and not proved yet."""

from dataclasses import dataclass
from pathlib import Path

from peft_lightning.export.loading_code import LoadingCode
from peft_lightning.export.request import Request
from peft_lightning.module.text_settings import TextSettings
from peft_lightning.task import Task


@dataclass(frozen=True)
class Written:
    """An export that is written and not proved yet.

    Args:
        folder: Where it lies.
        request: What was asked for.
        code: How a user loads it.
        window: None where the tokenizer alone cuts longer texts as the run did; otherwise the numbers of tokens that
            the run kept from the beginning and from the end, special ones included.
        task: What the model was trained for.
        bits: How the run's settings quantised its backbone, whatever the method did.
        texts: How the run read its texts.
        notes: What its user has to know, a sentence each.
        stride: The number of tokens that two windows of a longer text share; None where the run cut longer texts.
    """

    folder: Path
    request: Request
    code: LoadingCode
    window: tuple[int, int] | None
    task: Task
    bits: str | None
    texts: TextSettings
    notes: list[str]
    stride: int | None = None
