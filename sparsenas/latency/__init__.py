"""Time of networks on a device: measured once, kept in a file, used as a budget."""

from sparsenas.latency.candidates import LatencyTable, compare_latency, measure_latency, read_latency
from sparsenas.latency.layers import (
    COMPARED,
    LayerTimes,
    Line,
    changed,
    compare_layers,
    measure_layers,
    read_layer_times,
)
from sparsenas.latency.runtime import RuntimeName, check_runtime, preparing, time_network, where

__all__ = [
    "COMPARED",
    "LatencyTable",
    "LayerTimes",
    "Line",
    "RuntimeName",
    "changed",
    "check_runtime",
    "compare_latency",
    "compare_layers",
    "measure_latency",
    "measure_layers",
    "preparing",
    "read_latency",
    "read_layer_times",
    "time_network",
    "where",
]
