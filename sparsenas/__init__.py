"""Neural architecture search by sparse coding."""

__version__ = "0.1.0"
