"""How fast this machine is: each part of the work by itself, and the ways to do it side by side."""

from stages.bench.measure import BenchRequest, BenchResult, Growth, Row, run
from stages.bench.parts import PARTS

__all__ = ["PARTS", "BenchRequest", "BenchResult", "Growth", "Row", "run"]
