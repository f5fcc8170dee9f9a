"""An experiment logger for work kept in Git and data kept in DVC."""

from .backend import Backend
from .live import Live

__all__ = ["Backend", "Live", "__version__"]

__version__ = "0.1.0"
