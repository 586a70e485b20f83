"""What a source's name stands for, in the configuration that is run and in that which ``--print_config`` shows."""

from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from peft_lightning.data.sources.glue import settings_of_source


def fill_in(config: Namespace) -> dict[str, Any]:
    """Sets what the name of a configuration's source stands for, unless it is set.

    Args:
        config: The configuration of a run, which is changed.

    Returns:
        The values that were set, by dotted name.

    Raises:
        UserError: If the source is named like a task of GLUE and is none.
    """
    filled = settings_of_source(config.as_dict())
    for name, value in filled.items():
        config[name] = value
    return filled


def _as_word(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_str(str.__str__(value))


# The default of Lightning's Timer is a member of an enumeration, a kind of text that YAML knows no word for.
yaml.SafeDumper.add_multi_representer(str, _as_word)


class FillingParser(LightningArgumentParser):
    """Writes out a configuration as it is run; jsonargparse prints it before anybody else can change it."""

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """Returns a configuration as text."""
        if "data" in namespace:
            namespace = namespace.clone()
            fill_in(namespace)
        text: str = super().dump(namespace, *args, **kwargs)
        return text
