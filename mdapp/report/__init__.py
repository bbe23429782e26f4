"""A report as one HTML page without network."""
from mdapp.report.page import Event, Picture, Table, html_report
from mdapp.report.scene import Scene, Thinned

__all__ = ["Event", "Picture", "Scene", "Table", "Thinned", "html_report"]
