"""One run on images in a process of its own; started by :class:`sparsenas.comparison.Session`."""

from sparsenas.comparison.images.contestant import main

main()
