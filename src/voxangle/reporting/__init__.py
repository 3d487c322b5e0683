"""Results for people: tables in the terminal, plots, a page for the browser."""

from voxangle.reporting.page import (
    Block,
    Code,
    Facts,
    Gallery,
    Image,
    Section,
    Table,
    Text,
    difference_table,
    protocol_facts,
    result_table,
    write_page,
)
from voxangle.reporting.plots import plot_det, plot_scores
from voxangle.reporting.tables import conditions_table, results_table

__all__ = [
    "Block",
    "Code",
    "Facts",
    "Gallery",
    "Image",
    "Section",
    "Table",
    "Text",
    "conditions_table",
    "difference_table",
    "plot_det",
    "plot_scores",
    "protocol_facts",
    "result_table",
    "results_table",
    "write_page",
]
