import matplotlib
from matplotlib import pyplot

from peft_lightning.compare.report.plots.svg import INK, SERIES, as_svg, drawing


def drawn(name: str = "picture", description: str = "a line") -> str:
    with drawing(name, 200, 100) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], "o", color=SERIES[0])
        axes.text(0.5, 0.5, "<b>label</b>", color=INK)
        return as_svg(figure, name, description)


def test_the_same_figure_makes_the_same_bytes() -> None:
    assert drawn() == drawn()


def test_colours_are_variables_and_text_is_text() -> None:
    svg = drawn()
    assert "var(--series-1)" in svg
    assert "var(--ink)" in svg
    assert "&lt;b&gt;label&lt;/b&gt;" in svg
    assert "font-family" not in svg
    assert svg.startswith('<svg class="plot" viewBox="0 0 200 100"')


def test_two_pictures_share_no_id() -> None:
    one, other = ({part.split('"')[0] for part in drawn(name).split(' id="')[1:]} for name in ("one", "other"))
    assert one
    assert not one & other


def test_the_description_cannot_leave_its_attribute() -> None:
    assert 'aria-label="&quot;&gt;&lt;script&gt;"' in drawn(description='"><script>')


def test_nobody_else_s_figures_and_style_are_touched() -> None:
    before = dict(matplotlib.rcParams)
    drawn()
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
