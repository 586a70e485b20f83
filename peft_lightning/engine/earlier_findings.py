"""What a run on some processes goes on with of what the engines of another number of them have found."""

from collections.abc import Mapping, Sequence
from typing import Any

from peft_lightning.engine.notes import notes_by_rank

# The most careful first.
_ENGINES = ("eager", "graph", "compiled")


def most_careful(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what holds in every process of another number: what any of the earlier ones had to fall back to.

    Args:
        each: What the engine of each process has found, as its ``state_dict`` returned it.
    """
    sizes = [found["micro_batch_size"] for found in each if found["micro_batch_size"] is not None]
    return {
        "micro_batch_size": min(sizes, default=None),
        "notes": notes_by_rank([found["notes"] for found in each]),
        "engine": min((found["engine"] for found in each if found["engine"]), key=_ENGINES.index, default=None),
    }
