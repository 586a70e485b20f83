"""The reviews on which recipes disagree as the page has them, by value."""

from pathlib import Path

import numpy as np

from peft_lightning.compare.report.sections.disputed_reviews import SUMMARY_LETTERS, disputed
from tests.compare.report.sections.test_confusion import made


def test_disagreements_of_labels_name_what_each_seed_answered(tmp_path: Path) -> None:
    _, findings, task = made(tmp_path, "labels")
    content = disputed(findings, task, "No texts.")
    assert content is not None
    assert content["headings"] == ["lora", "ia3"]
    assert content["note"] == "No texts."
    seeds = findings.answers["ia3"]
    whole = 0
    for row in content["rows"]:
        place = seeds[0].ids.tolist().index(int(row["id"]))
        answered = " / ".join(dict.fromkeys(task.answer_in_words(seed.answers[place]) for seed in seeds))
        cell = row["cells"][1]
        if len(answered) <= SUMMARY_LETTERS:
            whole += 1
            assert cell["answered"] == answered
        else:
            assert answered.startswith(cell["answered"].removesuffix(" …"))
        score = np.mean([seed.scores[place] for seed in seeds])
        assert cell["said"] == f"{100 * score:.1f} %"
    assert whole > 3
    assert content["summary"].startswith("On the middle one of 200 reviews the best and the worst recipe are ")
