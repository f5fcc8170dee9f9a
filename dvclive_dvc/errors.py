"""Every exception this package raises, in one tree under `DvcLiveError`.

Two branches: `CallerError`, a mistake in a call, raised at once and before anything is
written; and `RepositoryError`, trouble of the place the run is in, raised by `Live()` alone:
later the same trouble is one warning, because a logger must not end a training.
"""

from __future__ import annotations

from typing import Any


class DvcLiveError(Exception):
    """The root: `except DvcLiveError` catches whatever this package raises on purpose."""


class CallerError(DvcLiveError):
    """A call was given something it cannot take; nothing was written."""


class InvalidDataTypeError(CallerError, TypeError):
    """A value has a type that the method cannot log."""

    def __init__(self, name: object, val: type, allowed: str = "") -> None:
        self.name = name
        self.val = val
        hint = f" Allowed: {allowed}." if allowed else ""
        super().__init__(f"Data '{name}' has not supported type {val}.{hint}")


class InvalidParameterTypeError(CallerError, TypeError):
    """A parameter holds what YAML cannot hold, so DVC could not read it back."""

    def __init__(self, msg: Any) -> None:
        super().__init__(msg)


class InvalidNameError(CallerError, ValueError):
    """A name is empty, leaves the run's folder, or holds a character a file cannot bear."""


class InvalidImageNameError(CallerError, ValueError):
    """An image's name lacks an ending that browsers and DVC show as a picture."""

    def __init__(self, name: object) -> None:
        self.name = name
        super().__init__(
            f"Cannot log image with name '{name}'. End the name in one of: .jpg, .jpeg, .gif, .png."
        )


class InvalidImageDataError(CallerError, ValueError):
    """A value given as an image has a shape, or a file a content, that is no picture."""


class MissingExtraError(CallerError, ImportError):
    """A method needs a package that only some users install; the text says how to."""

    def __init__(self, method: str, package: str, extra: str) -> None:
        super().__init__(
            f"`{method}` needs {package}, which is not installed: "
            f"pip install 'dvclive_dvc[{extra}]'"
        )


class InvalidPlotTypeError(CallerError, ValueError):
    """`log_sklearn_plot` was asked for a kind it does not know."""

    def __init__(self, name: object) -> None:
        self.name = name
        super().__init__(
            f"Plot type '{name}' is not supported. Use one of: "
            "calibration, confusion_matrix, det, precision_recall, roc."
        )


class InvalidPlotDataError(CallerError, ValueError):
    """A plot's `x` or `y` is not in its datapoints, or its lengths do not match."""


class InvalidValueError(CallerError, ValueError):
    """An argument has the right type and a value out of its range."""


class InvalidReportModeError(CallerError, ValueError):
    """`report` is not a mode this package has."""

    def __init__(self, val: object) -> None:
        self.val = val
        super().__init__(
            f"`report` can only be None, 'auto', 'html', 'md' or 'notebook'. Got {val} instead."
        )


class InvalidDvcyamlError(CallerError, ValueError):
    """`dvcyaml` is a path that DVC would not read as a dvc.yaml."""

    def __init__(self, val: object = None) -> None:
        self.val = val
        super().__init__(
            f"`dvcyaml` path must have filename 'dvc.yaml'. Got {val!r} instead: pass True for "
            "the default place, False for none, or a path that ends in dvc.yaml."
        )


class InvalidDirError(CallerError, ValueError):
    """`dir` cannot be a run's: cleaning it would delete a user's files, or Git keeps none of it."""


class ArtifactError(CallerError):
    """An artifact cannot be tracked where it is; the text says what to do instead."""


class ArtifactNotFoundError(ArtifactError, FileNotFoundError):
    """The path given to `log_artifact` does not exist."""

    def __str__(self) -> str:
        # OSError would otherwise print its own empty form.
        return str(self.args[0]) if self.args else ""


class ArtifactConflictError(ArtifactError):
    """A stage, a `.dvc` file, Git or another artifact already owns the path."""


class RepositoryError(DvcLiveError):
    """Git or DVC stand in the way; raised when the run starts, only warned about later."""


class RepositoryFormatError(RepositoryError):
    """The Git repository is of a format that DVC cannot read; `Live` goes on without it."""


class DvcyamlSyntaxError(RepositoryError):
    """The dvc.yaml to be merged into is not what DVC could read; nothing was written."""


class RunInProgressError(RepositoryError):
    """Another live run writes into the same `dir`."""


class SaveError(RepositoryError):
    """The experiment could not be saved; the run's files and its journal are still there."""
