"""The layers of a network that is sharded: which they are, and which networks cannot be sharded."""

from __future__ import annotations

from torch import nn

from peft_lightning.errors import Part, Setting, UserError

FSDP2 = "fsdp2"
"""What ``trainer.strategy`` calls the strategy that shards weights."""


def refuse_unshardable(network: nn.Module) -> None:
    """Refuses a network that cannot be sharded by its rows.

    Args:
        network: The network, not sharded yet.

    Raises:
        UserError: A weight is packed, belongs to several layers, or is a single number.
    """
    seen: dict[int, str] = {}
    for layer in layers_of(network):
        own = dict(layer.named_parameters())
        for name, parameter in own.items():
            if id(parameter) in seen:
                raise UserError(*_unshardable(f"{name} belongs to several layers"))
        seen |= {id(parameter): name for name, parameter in own.items()}
    for name, parameter in network.named_parameters():
        if not parameter.is_floating_point():
            raise UserError(
                *_unshardable(f"{name} is held in packed numbers, as four and eight bits are"),
                " that packs nothing, with ",
                Setting("model.backbone_dtype", "bfloat16"),
            )
        if parameter.ndim == 0:
            raise UserError(*_unshardable(f"{name} is a single number"))


def layers_of(network: nn.Module) -> list[nn.Module]:
    """Returns the layers of a network that it repeats, those of an encoder and those of a decoder.

    Args:
        network: The network; layers within layers, such as experts, are not listed.
    """
    return [layer for stack in stacks_of(network) for layer in stack]


def stacks_of(network: nn.Module) -> list[list[nn.Module]]:
    """Returns the layers of a network by the stacks that run one after the other.

    Args:
        network: The network.
    """
    found: list[list[nn.Module]] = []
    for child in network.children():
        kinds: set[type[nn.Module]] = set(map(type, child)) if isinstance(child, nn.ModuleList) else set()
        # Funnel's blocks are lists of layers.
        if isinstance(child, nn.ModuleList) and len(child) > 1 and len(kinds) == 1 and nn.ModuleList not in kinds:
            found.append(list(child))
        else:
            found += stacks_of(child)
    return found


def _unshardable(why: str) -> tuple[Part, ...]:
    whole = Setting("trainer.strategy", "ddp")
    return (f"{why}, and {FSDP2} shards weights by their rows: use ", whole, ", or another ", Setting("model.method"))
