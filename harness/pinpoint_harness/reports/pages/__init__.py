"""Pages for a browser that ask nothing of any network: reports of runs, and sites of leaderboards."""

from .report import PICTURES, ReportOptions, iter_reports, write_report
from .site import iter_site, write_site

__all__ = ["PICTURES", "ReportOptions", "iter_reports", "iter_site", "write_report", "write_site"]
