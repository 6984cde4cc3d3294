"""What a compiled model does, whether it is right, and how long it takes."""

from graphcnn.report.comparison import Comparison, compare
from graphcnn.report.execution import Execution, run_once
from graphcnn.report.explanation import Explanation, explain
from graphcnn.report.inspection import Inspection, inspect
from graphcnn.report.profiling import Profile, profile
from graphcnn.report.verification import Verification, verify

__all__ = [
    "Comparison",
    "Execution",
    "Explanation",
    "Inspection",
    "Profile",
    "Verification",
    "compare",
    "explain",
    "inspect",
    "profile",
    "run_once",
    "verify",
]
