"""Other people's files: tables of truth, coordinates and answers, in the shapes they come in."""

from __future__ import annotations

from .answer_columns import ROLES, Source
from .answer_values import Order, Units
from .coordinates import open_gallery, read_coordinates
from .delimited import ALIASES, Table, pick_column, read_table, sniff
from .json_rows import cell_text, is_json, parse_unique
from .parquet_tables import content_sha256
from .prediction_files import Answers, answers_of_frame, read_answers
from .table_form import TableForm, encoding_of
from .truth import Layout, Refusal, TableDataset, Truth, TruthSpec, checked_truth
from .truth_columns import TEXT
from .verify import PLACEHOLDER_COPIES, Verification

__all__ = [
    "ALIASES",
    "PLACEHOLDER_COPIES",
    "ROLES",
    "TEXT",
    "Answers",
    "Layout",
    "Order",
    "Refusal",
    "Source",
    "Table",
    "TableDataset",
    "TableForm",
    "Truth",
    "TruthSpec",
    "Units",
    "Verification",
    "answers_of_frame",
    "cell_text",
    "checked_truth",
    "content_sha256",
    "encoding_of",
    "is_json",
    "open_gallery",
    "parse_unique",
    "pick_column",
    "read_answers",
    "read_coordinates",
    "read_table",
    "sniff",
]
