"""Paper-style tables: stored runs and published rows in, Markdown, LaTeX, CSV or HTML out."""

from .render import Format, render
from .row import Kind, Present, Row

__all__ = ["Format", "Kind", "Present", "Row", "render"]
