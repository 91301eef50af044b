"""Palveron Meter: clients of the aggregator and the edge, and the gate that asks the edge.

The middleware is `palveron_meter.asgi.MeterMiddleware`.
"""

from .clients import aggregator, edge, taken
from .gate import Decision, Gate, Question
from .problem import MeterError, Problem
from .retry import Retries

__all__ = ["Decision", "Gate", "MeterError", "Problem", "Question", "Retries", "aggregator", "edge", "taken"]
