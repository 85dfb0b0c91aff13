"""One run in a process of its own; started by :func:`sparsenas.comparison.run_all`."""

from sparsenas.comparison.worker import main

main()
