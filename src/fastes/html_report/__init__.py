"""A run, or a comparison of several, as one HTML file that needs nothing else: no network, no script."""

from fastes.html_report.page import Extras, page

__all__ = ["Extras", "page"]
