"""What two sides of a comparison are compared by."""

import warm_starts

RUN = {"metrics": {"test/acc": 0.5}, "GPU memory": {"train_peak_reserved_gib": None}, "predictions": {"label": [0, 1]}}


def test_what_only_one_tree_writes_is_no_difference() -> None:
    newer = {**RUN, "metrics": {"test/acc": 0.5, "test/mcc": 0.1}, "predictions": {"label": [0, 1], "tokens": [3, 4]}}
    assert warm_starts.differences({"a": RUN}, {"a": newer}) == []


def test_every_difference_is_named() -> None:
    other = {**RUN, "metrics": {"test/acc": 0.75}, "predictions": {"label": [1, 1]}}
    assert warm_starts.differences({"a": RUN, "b": RUN}, {"a": other, "c": RUN}) == [
        "a: metrics differ: test/acc 0.5 → 0.75",
        "a: predictions differ in label",
        "b: on one side only",
        "c: on one side only",
    ]


def test_the_words_are_those_of_make_compare() -> None:
    words = warm_starts.words_of_make()
    assert words[0] == "configs/tuned_on_embedded/full.yaml"
    assert words[words.index("--seeds") :][:4] == ["--seeds", "1", "2", "3"]
