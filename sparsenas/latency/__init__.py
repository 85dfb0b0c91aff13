"""Time of networks on a device: measured once, kept in a file, used as a budget."""

from sparsenas.latency.candidates import LatencyTable, measure_latency, read_latency
from sparsenas.latency.layers import LayerTimes, Line, changed, measure_layers, read_layer_times

__all__ = [
    "LatencyTable",
    "LayerTimes",
    "Line",
    "changed",
    "measure_latency",
    "measure_layers",
    "read_latency",
    "read_layer_times",
]
