"""What the environment says to the logger, read once into a frozen value."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .notices import logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .layout import Layout

# Who numbers the processes of one distributed job: torchrun and accelerate, Open MPI, MPICH and
# Intel MPI, SLURM. In this order, for the innermost launcher knows: `mpirun` within a batch step
# hands SLURM's number 0 on to all of its processes.
_RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")


@dataclass(frozen=True)
class Settings:
    """The environment's part in a run.

    rank:     this process's number within a distributed job; only number 0 logs.
    rank_from: the variable that gave the number.
    resume:   `DVCLIVE_RESUME`.
    opens:    `DVCLIVE_OPEN`: the report is shown in the browser.
    test:     `DVCLIVE_TEST`: nothing of the run shall reach the working directory.
    """

    rank: int = 0
    rank_from: str = ""
    resume: bool = False
    opens: bool = False
    test: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Reads the variables; what is no number is no rank."""
        rank, source = 0, ""
        for variable in _RANKS:
            value = environ.get(variable, "")
            if value.isdecimal():
                rank, source = int(value), variable
                break
        return cls(
            rank=rank,
            rank_from=source,
            resume=truthy(environ.get("DVCLIVE_RESUME", "")),
            opens=truthy(environ.get("DVCLIVE_OPEN", "")),
            test=truthy(environ.get("DVCLIVE_TEST", "")),
        )

    def placed(self, layout: Layout) -> Layout:
        """The layout, in a temporary folder where the working directory is not to be touched."""
        if not self.test:
            return layout
        import tempfile  # half of what importing this module would cost, and for tests alone

        root = Path(os.path.realpath(tempfile.mkdtemp(prefix="dvclive-")))
        if not self.rank:
            logger.warning(
                "DVCLIVE_TEST is set: the run is logged to '%s' and saved nowhere. "
                "Unset the variable for one that counts.",
                root,
            )
        return dataclasses.replace(
            layout,
            given=str(root),
            root=root,
            dvcyaml=root / layout.dvcyaml.name,
            given_dvcyaml=None,
        )


def truthy(text: str) -> bool:
    """Whether a variable says yes, as users of `dvclive` know it: holds 1, y, yes or true."""
    return re.search(r"1|y|yes|true", text, re.IGNORECASE) is not None
