"""Pages for a browser: a report of runs in one file that asks nothing of any network."""

from .report import PICTURES, ReportOptions, iter_reports, write_report

__all__ = ["PICTURES", "ReportOptions", "iter_reports", "write_report"]
