"""The report's pictures: inline SVG from Matplotlib, in the colours and fonts of the page."""
