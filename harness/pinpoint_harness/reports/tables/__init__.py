"""Paper-style tables: stored runs and published rows in, text, Markdown, LaTeX, CSV or HTML out."""

from .render import HIDDEN, Format, render
from .row import Kind, Present, Row, find_metric

__all__ = ["HIDDEN", "Format", "Kind", "Present", "Row", "find_metric", "render"]
