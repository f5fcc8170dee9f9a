"""Holds forks off while a descriptor is made and noted, so that a child knows what to let go of.

A worker that another thread forks just then would have a copy of which no hook knows, and with it
the lock or the name that the descriptor stands for.
"""

from __future__ import annotations

import os
import threading

held_off = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=held_off.acquire,
        after_in_parent=held_off.release,
        after_in_child=held_off.release,
    )
