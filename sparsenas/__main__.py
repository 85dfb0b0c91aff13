"""``python -m sparsenas``."""

from sparsenas.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
