"""One predictor with one seed in a process of its own; started by :class:`sparsenas.comparison.Session`."""

from sparsenas.comparison.predictors.predictor_record import main

main()
