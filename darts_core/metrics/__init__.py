"""What a network is worth and what it costs: accuracies, calibration, intervals, tests, parameters and MACs.

Rates (accuracy, precision, recall, F1, calibration error) are in percent, 0 to 100; a probability that goes in is 0 to 1.
"""

from darts_core.metrics.calibration import ReliabilityBin, expected_calibration_error, reliability_table
from darts_core.metrics.classification import ClassScores, class_scores, confusion_matrix, label_rank, top_k_accuracy
from darts_core.metrics.cost import count_macs, count_parameters
from darts_core.metrics.intervals import (
    Interval,
    bootstrap_accuracy,
    bootstrap_difference,
    mcnemar_p,
    relative_improvement,
    wilson_accuracy,
)
from darts_core.metrics.perplexity import bootstrap_perplexity, bootstrap_perplexity_ratio, perplexity
from darts_core.metrics.running import RunningMean

__all__ = [
    "ClassScores",
    "Interval",
    "ReliabilityBin",
    "RunningMean",
    "bootstrap_accuracy",
    "bootstrap_difference",
    "bootstrap_perplexity",
    "bootstrap_perplexity_ratio",
    "class_scores",
    "confusion_matrix",
    "count_macs",
    "count_parameters",
    "expected_calibration_error",
    "label_rank",
    "mcnemar_p",
    "perplexity",
    "relative_improvement",
    "reliability_table",
    "top_k_accuracy",
    "wilson_accuracy",
]
