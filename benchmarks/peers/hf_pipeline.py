"""transformers' own pipeline with a run's network: by itself over a file, or behind this project's server."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peft_lightning.module.classifier import TextClassifier
from peft_lightning.stop_signals import Stopped


def make_pipeline(run: Path, batch_size: int) -> Any:
    """Makes the pipeline of a run's network, which computes as it does in the run.

    Args:
        run: The run's directory.
        batch_size: What the pipeline calls so.
    """
    from transformers import pipeline

    from peft_lightning.backbone.tokenizers import load_tokenizer

    module = TextClassifier.load_trained(run)
    settings = module.text_settings
    assert settings is not None
    network: Any = module.model
    tokenizer: Any = load_tokenizer(settings.model_name_or_path, settings.revision)
    return pipeline(
        "text-classification",
        model=network,
        tokenizer=tokenizer,
        batch_size=batch_size,
        truncation=True,
        max_length=settings.max_length,
        top_k=None,
    )


def over_file(run: Path, texts: Path, output: Path, batch_size: int) -> None:
    """Answers each line of a file into JSON lines, as the pipeline's documentation does with a generator."""
    classify = make_pipeline(run, batch_size)
    lines = texts.read_text(encoding="utf-8").splitlines()
    with torch.inference_mode(), output.open("w", encoding="utf-8") as file:
        for answer in classify(line for line in lines):
            file.write(json.dumps(answer) + "\n")


def behind_server(run: Path, batch_size: int) -> None:
    """Serves as `serve` does, but each batch goes through the pipeline, in the order of its arrival.

    Args:
        run: The run's directory.
        batch_size: 1 for a pipeline that is called for each text, as most servers of one do.
    """
    from peft_lightning.serving.app import RequestLimits, make_app
    from peft_lightning.serving.batching import BatchLimits
    from peft_lightning.serving.folders import load_answerer
    from peft_lightning.serving.running import bound_socket, serve

    classify = make_pipeline(run, batch_size)
    ours = load_answerer(run, "best", torch.device("cpu"))
    places: dict[int, str] = {}

    def tokenise(texts: Sequence[str]) -> list[Tensor]:
        # The pipeline tokenises by itself: what waits is the place of a text.
        first = len(places)
        places.update(enumerate(texts, first))
        return [torch.tensor([first + place]) for place in range(len(texts))]

    def answer(waiting: Sequence[Tensor]) -> list[dict[str, Any]]:
        with torch.inference_mode():
            found = classify([places[int(place)] for place in waiting])
        return [
            {"label": scores[0]["label"], "probabilities": {score["label"]: score["score"] for score in scores}}
            for scores in found
        ]

    class Pipeline(type(ours)):  # type: ignore[misc]
        def tokenise(self, texts: Sequence[str]) -> list[Tensor]:
            return tokenise(texts)

        def answer(self, texts: Sequence[Tensor]) -> list[dict[str, Any]]:
            return answer(texts)

    app = make_app(
        Pipeline(**vars(replace(ours))), RequestLimits(256, 10**6), BatchLimits(batch_size, 10**9, 1024, 0.002)
    )
    with bound_socket("127.0.0.1", 0) as listening:
        listening.listen(1024)
        print(f"serving the pipeline at http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        with suppress(Stopped):
            serve(app, listening)


def main() -> int:
    """Runs one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--texts", type=Path, help="a file to answer; without it, a server")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--batch_size", type=int, default=32)
    asked = parser.parse_args()
    if asked.texts is None:
        behind_server(asked.run, asked.batch_size)
    else:
        over_file(asked.run, asked.texts, asked.output, asked.batch_size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
