"""Kernels compiled for GPUs that need not be here, and what their machine code takes and holds."""

from graphcnn.gpu_code.ahead import GpuCode as GpuCode
from graphcnn.gpu_code.ahead import OfflineDriver as OfflineDriver
from graphcnn.gpu_code.ahead import compile_all as compile_all
from graphcnn.gpu_code.ahead import compile_for as compile_for
from graphcnn.gpu_code.architectures import ARCHITECTURES as ARCHITECTURES
from graphcnn.gpu_code.architectures import Architecture as Architecture
from graphcnn.gpu_code.architectures import architecture as architecture
from graphcnn.gpu_code.counts import Counts as Counts
from graphcnn.gpu_code.resources import Resources as Resources
from graphcnn.gpu_code.resources import resources as resources
from graphcnn.gpu_code.rules import problems as problems
