"""Loads exported models with the libraries that users have, and replays texts through them.

A program of its own, run by its path in a fresh process: it imports nothing of peft_lightning, and may not. Its one
argument is a JSON file with a list of jobs; each says which lines of Python load the export, which texts to answer and
how they are cut, and names the files for the logits and the report.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

BATCH = 32
# Single texts whose times are taken, after three that are not.
SINGLES = 20
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "onnxruntime", "tokenizers")

# What tokenizers call the text of each window.
OF_TEXT = "overflow_to_sample_mapping"

Answer = Callable[[dict[str, Any]], Any]
# A text, or the two texts of a pair.
Text = str | list[str]


def main(path: str) -> None:
    """Runs the jobs of a file; one that fails leaves its traceback in its report.

    Args:
        path: The JSON file.
    """
    for job in json.loads(Path(path).read_text(encoding="utf-8")):
        try:
            report = replay(job)
        except Exception as error:  # every library has exceptions of its own
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            report = {"error": reason, "traceback": traceback.format_exc()}
        Path(job["report"]).write_text(json.dumps(report, indent=2), encoding="utf-8")


def replay(job: dict[str, Any]) -> dict[str, Any]:
    """Loads one export and answers its texts.

    Args:
        job: ``load``, the lines of Python that leave ``model`` or ``session``, and ``tokenizer``; ``texts``, a JSON
            file with the texts, or with lists of two texts, which are pairs; ``window``, None where the tokenizer cuts
            longer texts itself, or the numbers of tokens kept at both ends, special ones included; ``stride``, the
            number of tokens that two windows of a longer text share, or None where longer texts are cut; ``logits`` and
            ``plain_logits``, the files for the logits, (texts, outputs); ``plain``, the places of texts to answer as
            the tokenizer alone cuts them.

    Returns:
        What the export says of its labels, times, versions and the device.
    """
    import numpy as np

    texts = json.loads(Path(job["texts"]).read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    exec("\n".join(job["load"]), names)
    tokenizer = names["tokenizer"]
    if "session" in names:
        answer, place, labels = _session(names["session"])
        config = json.loads((Path(job["folder"]) / "config.json").read_text(encoding="utf-8"))
        labels = {int(number): name for number, name in config["id2label"].items()}
        framework, problem = "np", config.get("problem_type")
    else:
        answer, place, labels = _module(names["model"])
        framework, problem = "pt", names["model"].config.problem_type
    answer = _by_text(answer)
    encode = Encoder(tokenizer, job["window"], framework, job["stride"])
    started = time.perf_counter()
    logits = _answers(texts, encode, answer)
    elapsed = time.perf_counter() - started
    np.save(job["logits"], logits)
    if job["plain"]:
        alone = Encoder(tokenizer, None, framework)
        np.save(job["plain_logits"], _answers([texts[place] for place in job["plain"]], alone, answer))
    return {
        "id2label": {str(number): name for number, name in labels.items()},
        "problem_type": problem,
        "device": place,
        "machine": f"{platform.machine()}, {_threads()}",
        "latency_ms": _latency(texts, encode, answer),
        "texts_per_s": len(texts) / elapsed,
        "versions": _versions(),
    }


class Encoder:
    """Makes the inputs of a batch of texts.

    Args:
        tokenizer: The export's tokenizer.
        window: None where it cuts longer texts itself, or the numbers of tokens kept at both ends.
        framework: ``pt`` for tensors, ``np`` for arrays.
        stride: None where longer texts are cut, or the number of tokens that two windows of one share.
    """

    def __init__(self, tokenizer: Any, window: list[int] | None, framework: str, stride: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.window = window
        self.framework = framework
        self.stride = stride

    def __call__(self, texts: Sequence[Text]) -> dict[str, Any]:
        """Returns the inputs of some texts or pairs, each (batch, length), or of all windows with the text of each."""
        words = {"truncation": True, "padding": True, "return_tensors": self.framework}
        if self.stride is not None:
            return dict(self.tokenizer(list(texts), stride=self.stride, return_overflowing_tokens=True, **words))
        if self.window is None:
            sides = [list(texts)] if isinstance(texts[0], str) else [list(side) for side in zip(*texts, strict=True)]
            return dict(self.tokenizer(*sides, **words))
        first, last = self.window
        rows = self.tokenizer(list(texts), verbose=False)["input_ids"]
        cut = [row if len(row) <= first + last else row[:first] + row[len(row) - last :] for row in rows]
        return dict(self.tokenizer.pad({"input_ids": cut}, return_tensors=self.framework))


def _module(model: Any) -> tuple[Answer, str, dict[int, str]]:
    import torch

    model.eval()
    quantised = getattr(model.config, "quantization_config", None) is not None
    if torch.cuda.is_available() and not quantised:
        model.to("cuda")
    device = next(model.parameters()).device

    def answer(inputs: dict[str, Any]) -> Any:
        with torch.inference_mode():
            on_device = {name: values.to(device) for name, values in inputs.items()}
            return model(**on_device).logits.float().cpu().numpy()

    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return answer, where, {int(number): name for number, name in model.config.id2label.items()}


def _session(session: Any) -> tuple[Answer, str, dict[int, str]]:
    wanted = {given.name for given in session.get_inputs()}

    def answer(inputs: dict[str, Any]) -> Any:
        return session.run(None, {name: values for name, values in inputs.items() if name in wanted})[0]

    return answer, "cpu", {}


def _by_text(answer: Answer) -> Answer:
    """Averages the logits over the windows of each text; inputs of whole texts are answered as they are."""
    import numpy as np

    def averaged(inputs: dict[str, Any]) -> Any:
        if OF_TEXT not in inputs:
            return answer(inputs)
        of_text = np.asarray(inputs[OF_TEXT])
        rows = {name: values for name, values in inputs.items() if name != OF_TEXT}
        starts = range(0, len(of_text), BATCH)
        parts = [answer({name: values[start : start + BATCH] for name, values in rows.items()}) for start in starts]
        logits = np.concatenate(parts)
        return np.stack([logits[of_text == text].mean(axis=0) for text in range(of_text[-1] + 1)])

    return averaged


def _answers(texts: list[Text], encode: Encoder, answer: Answer) -> Any:
    """Returns the logits of all texts in their order; batches are of texts of like length."""
    import numpy as np

    order = sorted(range(len(texts)), key=lambda place: -_characters(texts[place]))
    logits: Any = None
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        values = answer(encode([texts[place] for place in places]))
        if logits is None:
            logits = np.zeros((len(texts), values.shape[1]), dtype=np.float32)
        logits[places] = values
    return logits


def _characters(text: Text) -> int:
    return len(text) if isinstance(text, str) else sum(map(len, text))


def _latency(texts: list[Text], encode: Encoder, answer: Answer) -> float:
    """Returns the median time of a single text in ms, tokenising included."""
    times = []
    for number in range(SINGLES + 3):
        started = time.perf_counter()
        answer(encode([texts[number % len(texts)]]))
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[3:])


def _threads() -> str:
    import os

    return f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    # What is measured here must not work by the help of the package that made it.
    sys.modules["peft_lightning"] = None  # type: ignore[assignment]
    main(sys.argv[1])
