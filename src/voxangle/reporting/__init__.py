"""Results for people: tables in the terminal, plots, a page for the browser."""

from voxangle.reporting.charts import cost_chart, det_chart, reliability_chart, score_chart
from voxangle.reporting.comparison import Comparison, compare_systems
from voxangle.reporting.comparison_page import write_comparison_page
from voxangle.reporting.evaluation_page import write_evaluation_page
from voxangle.reporting.page import (
    Block,
    Code,
    Details,
    Facts,
    Gallery,
    Image,
    Part,
    Section,
    Table,
    Text,
    write_page,
)
from voxangle.reporting.plots import plot_det, plot_scores
from voxangle.reporting.result_blocks import difference_table, protocol_facts, result_table
from voxangle.reporting.tables import calibrated_table, conditions_table, differences_table, results_table
from voxangle.reporting.verdict import Verdict, adjusted_by_holm, verdict

__all__ = [
    "Block",
    "Code",
    "Comparison",
    "Details",
    "Facts",
    "Gallery",
    "Image",
    "Part",
    "Section",
    "Table",
    "Text",
    "Verdict",
    "adjusted_by_holm",
    "calibrated_table",
    "compare_systems",
    "conditions_table",
    "cost_chart",
    "det_chart",
    "difference_table",
    "differences_table",
    "plot_det",
    "plot_scores",
    "protocol_facts",
    "reliability_chart",
    "result_table",
    "results_table",
    "score_chart",
    "verdict",
    "write_comparison_page",
    "write_evaluation_page",
    "write_page",
]
