"""One run in a process of its own; started by :class:`sparsenas.comparison.Session`."""

from sparsenas.comparison.worker import main

main()
