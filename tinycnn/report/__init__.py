"""The html page of a training run: `write_report(path, RunReport(...))`."""

from .page import render_report as render_report
from .page import write_report as write_report
from .run_report import RunReport as RunReport
