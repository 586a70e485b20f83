from peft_lightning.compare.report.plots.share_bars import draw_shares


def test_shares_are_of_all_texts_and_training_is_left_out_where_it_is_not_known() -> None:
    svg = draw_shares([("spam", 30, 1), ("ham", 70, 9)], 100, 10)
    assert "spam 30.0 % of training, 10.0 % of test; ham 70.0 % of training, 90.0 % of test." in svg
    assert ">30 / 1</text>" in svg
    old = draw_shares([("spam", None, 1), ("ham", None, 9)], 0, 10)
    assert "Shares of the texts: spam 10.0 % of test; ham 90.0 % of test." in old
    assert "var(--part-4)" not in old
    assert "var(--part-4)" in svg
