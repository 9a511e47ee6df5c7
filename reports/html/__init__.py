"""The report as one folder of HTML that opens from disk: `build_html`."""
from reports.html.build import build_html

__all__ = ["build_html"]
