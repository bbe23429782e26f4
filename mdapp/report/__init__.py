"""A report as one HTML page without network."""
from mdapp.report.page import Event, Page, Picture, Section, Table, html_report
from mdapp.report.scene import Scene, Thinned

__all__ = ["Event", "Page", "Picture", "Scene", "Section", "Table", "Thinned", "html_report"]
