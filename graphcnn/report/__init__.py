"""What a compiled model does, whether it is right, and how long it takes."""

from graphcnn.report.comparison import Comparison as Comparison
from graphcnn.report.comparison import compare as compare
from graphcnn.report.estimation import Estimate as Estimate
from graphcnn.report.estimation import estimate as estimate
from graphcnn.report.execution import Execution as Execution
from graphcnn.report.execution import run_once as run_once
from graphcnn.report.explanation import Explanation as Explanation
from graphcnn.report.explanation import explain as explain
from graphcnn.report.gpu_report import GpuReport as GpuReport
from graphcnn.report.gpu_report import gpu_report as gpu_report
from graphcnn.report.inspection import Inspection as Inspection
from graphcnn.report.inspection import inspect as inspect
from graphcnn.report.profiling import Profile as Profile
from graphcnn.report.profiling import profile as profile
from graphcnn.report.verification import Verification as Verification
from graphcnn.report.verification import verify as verify
