from peft_lightning.compare.report.pareto import front


def test_what_is_dearer_and_worse_is_not_on_the_front() -> None:
    points = {"cheap": (1.0, 0.8), "good": (3.0, 0.9), "neither": (3.5, 0.85), "between": (2.0, 0.85)}
    assert front(points) == ["cheap", "between", "good"]


def test_equal_cost_leaves_the_better_one() -> None:
    assert front({"a": (1.0, 0.8), "b": (1.0, 0.9)}) == ["b"]


def test_equals_stay_together() -> None:
    assert set(front({"a": (1.0, 0.8), "b": (1.0, 0.8), "c": (2.0, 0.8)})) == {"a", "b"}


def test_one_point_is_its_own_front() -> None:
    assert front({"a": (1.0, 0.8)}) == ["a"]
