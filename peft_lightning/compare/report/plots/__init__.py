"""The report's pictures: Matplotlib's SVG, inline, in colours and fonts that the page decides."""
