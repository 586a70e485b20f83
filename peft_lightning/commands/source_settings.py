"""What a source's name stands for, in the configuration that is run and in that which ``--print_config`` shows."""

from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from peft_lightning.data.sources.glue import glue_settings


def fill_in(config: Namespace) -> dict[str, Any]:
    """Sets what the name of a configuration's source stands for, unless it is set.

    Args:
        config: The configuration of a run, which is changed.

    Returns:
        The values that were set, by dotted name.

    Raises:
        UserError: If the source is named like a task of GLUE and is none.
    """
    filled = glue_settings(config["data"].as_dict(), config["model"]["problem_type"])
    filled = {name: value for name, value in filled.items() if name.startswith("data.") or config.get(name) is None}
    for name, value in filled.items():
        config[name] = value
    return filled


class FillingParser(LightningArgumentParser):
    """Writes out a configuration as it is run; jsonargparse prints it before anybody else can change it."""

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """Returns a configuration as text."""
        if "data" in namespace:
            namespace = namespace.clone()
            fill_in(namespace)
        text: str = super().dump(namespace, *args, **kwargs)
        return text
