"""Where each thing of a run lands under its `dir`: every path is spelt here and only here.

The places are those of DVCLive's documentation ("How it works", directory structure).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .errors import InvalidDataTypeError, InvalidDirError, InvalidDvcyamlError

DVCYAML_NAME = "dvc.yaml"
# Stands in every report; a later run knows by it what it may delete.
DRAWN_BY = "Drawn by dvclive_dvc"


def resolved(path: Path) -> Path:
    """Absolute, the symlinks of the parents resolved; a path that is a symlink stays itself."""
    return Path(os.path.realpath(path.parent)) / path.name


@dataclass(frozen=True)
class Layout:
    """The paths of one run, made absolute once so that `os.chdir` later moves nothing.

    given:   `dir` as the user wrote it; what the public properties are joined to.
    root:    the same folder, absolute, symlinks of its parents resolved.
    dvcyaml: the dvc.yaml this run's entries go to (absolute); `{dir}/dvc.yaml` unless told.
    dvcyaml_on: whether that file is written without being asked for by `make_dvcyaml()`.
    given_dvcyaml: the path of the dvc.yaml as the user wrote it, where one was given.
    """

    given: str
    root: Path
    dvcyaml: Path
    dvcyaml_on: bool = True
    given_dvcyaml: str | None = None

    @classmethod
    def at(
        cls, given: str | os.PathLike[str], dvcyaml: str | os.PathLike[str] | bool | None = True
    ) -> Layout:
        """The layout for the arguments of `Live()`, seen from the present working directory.

        Raises InvalidDataTypeError or InvalidDirError for a `dir` that is no path,
        InvalidDvcyamlError for a `dvcyaml` that DVC would not read.
        """
        if not isinstance(given, (str, os.PathLike)) or not os.fspath(given):
            raise InvalidDataTypeError("dir", type(given), "a path that is not empty")
        text = os.fspath(given)
        try:
            root = Path(os.path.realpath(text))
        except ValueError as error:
            raise InvalidDirError(
                f"`dir` {text!r} is no path that a file system takes ({error}). Give the run a "
                "folder such as Live(dir='dvclive')."
            ) from error
        if dvcyaml is None or isinstance(dvcyaml, bool):
            return cls(text, root, root / DVCYAML_NAME, dvcyaml_on=bool(dvcyaml))
        if not isinstance(dvcyaml, (str, os.PathLike)) or Path(dvcyaml).name != DVCYAML_NAME:
            raise InvalidDvcyamlError(dvcyaml)
        try:
            file = Path(os.path.realpath(dvcyaml))
        except ValueError as error:
            raise InvalidDvcyamlError(dvcyaml) from error
        return cls(text, root, file, given_dvcyaml=os.fspath(dvcyaml))

    @property
    def shown_dvcyaml(self) -> str:
        """The dvc.yaml the way the user would write it."""
        return self.given_dvcyaml or self.shown(self.root / DVCYAML_NAME)

    @property
    def metrics_file(self) -> Path:
        """The summary, nested by `/`."""
        return self.root / "metrics.json"

    @property
    def params_file(self) -> Path:
        """The parameters."""
        return self.root / "params.yaml"

    @property
    def plots_dir(self) -> Path:
        """The folder over all plots."""
        return self.root / "plots"

    @property
    def metrics_dir(self) -> Path:
        """One `.tsv` a metric."""
        return self.plots_dir / "metrics"

    @property
    def images_dir(self) -> Path:
        """Images under the names they were logged by."""
        return self.plots_dir / "images"

    @property
    def images_pointer(self) -> Path:
        """The `.dvc` file of the images where they are cached."""
        return self.plots_dir / "images.dvc"

    @property
    def custom_dir(self) -> Path:
        """One `.json` a custom plot."""
        return self.plots_dir / "custom"

    @property
    def sklearn_dir(self) -> Path:
        """One `.json` a scikit-learn plot."""
        return self.plots_dir / "sklearn"

    @property
    def artifacts_dir(self) -> Path:
        """Copies of artifacts, and their `.dvc` files."""
        return self.root / "artifacts"

    @property
    def written_on(self) -> tuple[Path, ...]:
        """The files and folders that the run goes on writing to until its end."""
        return (
            self.metrics_file,
            self.params_file,
            self.metrics_dir,
            self.custom_dir,
            self.sklearn_dir,
            self.report_file("html"),
            self.report_file("md"),
            self.report_pictures_dir,
        )

    def report_file(self, mode: str) -> Path:
        """The report in a mode that leaves a file: `html` or `md`."""
        return self.root / f"report.{mode}"

    @property
    def report_pictures_dir(self) -> Path:
        """The pictures that `report.md` shows of the plots."""
        return self.root / "report-files"

    def shown(self, path: Path) -> str:
        """A path below `dir` the way the user would write it: joined to `dir` as given."""
        return os.path.join(self.given, path.relative_to(self.root))  # noqa: PTH118 - str, as given
