"""The backbone of a measurement: one with weights, or a shape whose weights are drawn."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from peft_lightning.backbone.locations import locate
from peft_lightning.errors import UserError
from side_by_side.peer_job import METHODS_OF, Method, Recipes
from side_by_side.random_decoder import make_decoder
from side_by_side.shapes import SHAPES, recipes_for, write_shape
from side_by_side.wanted import PEERS_OF
from study_costs import make_backbone

# What is measured of each kind unless it is said; a decoder's `full` and `7b-qlora` are for their sizes.
_METHODS: dict[Recipes, tuple[Method, ...]] = {"study": METHODS_OF["study"], "decoder": ("lora", "qlora")}
_Name = TypeVar("_Name", bound=str)


@dataclass(frozen=True)
class Backbone:
    """What all peers train.

    Args:
        shape: the folder with `config.json` and tokenizer.
        recipes: whose recipes train it.
        name: what to call it in the results.
        drawn: whether the weights are drawn at random.
    """

    shape: Path
    recipes: Recipes
    name: str
    drawn: bool

    def about(self) -> dict[str, Any]:
        """What the results say of it."""
        digest = hashlib.sha256((self.shape / "config.json").read_bytes()).hexdigest()[:16]
        about = {"backbone": self.name, "config_sha256": digest}
        return about if self.recipes == "study" else about | {"recipes": self.recipes}

    def folder(self, scratch: Path, kept: Path | None) -> Path:
        """The folder with the weights; those of a shape are drawn.

        Args:
            scratch: a folder of this call.
            kept: one that keeps a decoder's weights for the next call.
        """
        if not self.drawn:
            return self.shape
        if self.recipes == "study":
            return make_backbone(self.shape, scratch / "backbone")
        return make_decoder(self.shape, (kept or scratch).resolve() / f"decoder.{self.about()['config_sha256']}")

    def methods(self, named: list[Method] | None) -> list[Method]:
        """The recipes that are measured.

        Args:
            named: those of the command line.

        Raises:
            UserError: one of them is for the other kind of backbone.
        """
        known = METHODS_OF[self.recipes]
        return _checked(named or list(_METHODS[self.recipes]), known, "--methods", f"configs/{self.recipes}/ has")

    def peers(self, named: list[str] | None) -> list[str]:
        """Who is measured.

        Args:
            named: those of the command line.

        Raises:
            UserError: one of them does not train such a backbone.
        """
        known = PEERS_OF[self.recipes]
        kind = "an encoder" if self.recipes == "study" else "a decoder"
        return _checked(named or list(known), known, "--peers", f"{kind} is trained by")


def find_backbone(arguments: argparse.Namespace, scratch: Path) -> Backbone:
    """Finds what the command line names.

    Args:
        arguments: the command line's.
        scratch: a folder of this call.

    Raises:
        UserError: there is no such backbone.
    """
    if arguments.backbone:
        folder = Path(locate(arguments.backbone))
        if not (folder / "config.json").is_file():
            raise UserError(f"--backbone {arguments.backbone} is no folder with a config.json")
        return Backbone(folder, recipes_for(folder), folder.name, drawn=False)
    if arguments.shape in SHAPES:
        folder = write_shape(arguments.shape, scratch / "shape")
        return Backbone(folder, recipes_for(folder), f"random weights of {arguments.shape}'s shape", drawn=True)
    folder = Path(arguments.shape)
    if not (folder / "config.json").is_file():
        raise UserError(f"--shape {folder} has no config.json: name a folder with one, or one of {', '.join(SHAPES)}")
    return Backbone(folder, recipes_for(folder), "random weights", drawn=True)


def _checked(named: list[_Name], known: Sequence[_Name], flag: str, those: str) -> list[_Name]:
    strange = [name for name in named if name not in known]
    if strange:
        raise UserError(f"{flag} {strange[0]}: {those} {', '.join(known)}")
    return named
