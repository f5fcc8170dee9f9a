"""`Live`, the logger a training script calls. It knows its own files; no Git, no DVC."""

from __future__ import annotations

import dataclasses
import datetime
import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from . import ending, files, occupied
from . import report as reports
from .backend import Artifact, Backend, Entries, Outcome, Plot, Request, Status
from .errors import (
    ArtifactError,
    ArtifactNotFoundError,
    InvalidDataTypeError,
    RunInProgressError,
)
from .layout import Layout
from .logs import (
    artifacts,
    descriptions,
    images,
    metrics,
    names,
    plots,
    remains,
    sklearn,
    summary,
)
from .logs import params as parameters
from .losses import Losses
from .notices import listen, logger
from .null import NullBackend
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from .monitor import SystemMonitor

StrPath = str | os.PathLike[str]


class Live:
    """One run: logs its values, draws its report, and saves it as a DVC experiment.

    In a Git repository without DVC it does what `dvc init` does at the top, stages nothing and
    says so; `save_dvc_exp=False` leaves that.

    Use it as a context manager, or call `end()` yourself:

        with Live() as live:
            live.log_param("lr", 0.1)
            for epoch in range(3):
                live.log_metric("loss", 1 / (epoch + 1))
                live.next_step()

    Args:
        dir: the run's folder; made when missing. What an earlier run wrote there is replaced.
        resume: goes on after the last step of the run that is in `dir`
            (`DVCLIVE_RESUME` does the same). A step that a kill cut off is done again; the rows
            it had logged stay.
        report: "html", "md", "notebook", None for none, or "auto": the notebook's own
            display inside a notebook, HTML everywhere else. With "md" the first `next_step()`
            takes a second or two: what draws the pictures is loaded then.
        save_dvc_exp: saves the run as a DVC experiment when it ends.
        dvcyaml: True writes `{dir}/dvc.yaml`; a path that ends in dvc.yaml writes there;
            False or None writes none.
        cache_images: puts the logged images into DVC's cache instead of Git.
        exp_name: the experiment's name; `DVC_EXP_NAME` or a random one when not given.
        exp_message: the message of the experiment's commit.
        monitor_system: logs the use of CPU, memory, disk and GPU beside the metrics.
        backend: what stands for the repository; found from the working directory when None.
        include: files and folders that enter the experiment though Git does not track them. Of a
            folder what Git ignores stays out, unless it ignores the folder itself.
        commit_data: whether DVC-tracked data that changed enters the cache and the experiment.

    Raises:
        errors.CallerError: an argument cannot be taken; nothing was written.
        errors.RepositoryError: the run must not start here; nothing was written.
    """

    # The run that writes into each folder: a second one takes over from it.
    _by_root: ClassVar[weakref.WeakValueDictionary[Path, Live]] = weakref.WeakValueDictionary()

    def __init__(
        self,
        dir: StrPath = "dvclive",  # noqa: A002 - the name users know
        resume: bool = False,
        report: str | None = "auto",
        save_dvc_exp: bool = True,
        dvcyaml: StrPath | bool | None = True,
        cache_images: bool = False,
        exp_name: str | None = None,
        exp_message: str | None = None,
        monitor_system: bool = False,
        *,
        backend: Backend | None = None,
        include: Iterable[StrPath] = (),
        commit_data: bool = True,
    ) -> None:
        listen()
        if backend is not None and not callable(getattr(backend, "begin", None)):
            raise InvalidDataTypeError("backend", type(backend), "None, or a backend.Backend")
        settings = Settings.read(os.environ)
        mode = reports.resolve_mode(report)
        self._layout = settings.placed(Layout.at(dir, dvcyaml))
        self._resume = resume or settings.resume
        self._cache_images = cache_images
        # A process that must not write: a further rank of one job, or a forked child.
        self._muted = settings.rank > 0
        self._forked = False
        self._lock = ending.Section()
        self._losses = Losses()
        self._started = datetime.datetime.now(datetime.timezone.utc)
        self._thread = threading.get_ident()

        self.summary: dict[str, Any] = {}
        self._step: int | None = None
        self._params: dict[str, Any] = {}
        self._plots: dict[Path, Plot] = {}
        self._artifacts: dict[str, Artifact] = {}
        self._copies: dict[str, Path] = {}
        self._has_images = False
        self._image_names: set[str] = set()
        self._described: Entries | None = None
        self._outcome: Outcome | None = None
        self._ended = False
        self._saved: str | None = None
        self._inside_with = False
        self._left_by = Outcome()
        self._monitor: SystemMonitor | None = None
        self._names = metrics.Names()

        request = Request.of(
            save=save_dvc_exp,
            name=exp_name,
            message=exp_message,
            include=include,
            commit_data=commit_data,
            resume=self._resume,
        )
        if self._muted:
            logger.info(
                "%s=%d: this process of a distributed job logs and saves nothing; process 0 does.",
                settings.rank_from,
                settings.rank,
            )
        remains.check_dir(self._layout)
        self._end_former()
        self._backend = backend if backend is not None else _default_backend(settings)
        self._backend.begin(self._layout, request)
        self._metrics = metrics.MetricWriter(self._layout, self._losses)
        self._reporter = reports.Reporter(
            self._layout, None if self._muted else mode, opens=settings.opens
        )
        if not self._muted:
            self._prepare_alone()
            _watched.add(self)
            Live._by_root[self._layout.root] = self
            self._watch = ending.watch(self._finish)
        if monitor_system:
            self.monitor_system()

    def _end_former(self) -> None:
        """Ends the unfinished run of this thread in the same folder: notebooks run cells again."""
        former = Live._by_root.get(self._layout.root)
        if former is not None and not self._muted and not former._ended:  # noqa: SLF001 - its own class
            if former._muted:  # noqa: SLF001 - its own class
                raise RunInProgressError(
                    f"The process this one (pid {os.getpid()}) was forked from is logging to "
                    f"'{self.dir}'. Give the run its own folder: Live(dir='{self.dir}-2')."
                )
            if former._thread != self._thread and former._thread in _live_threads():  # noqa: SLF001 - its own class
                raise RunInProgressError(
                    f"Another thread of this process (pid {os.getpid()}) is logging to "
                    f"'{self.dir}'. Give each run its own folder: Live(dir='{self.dir}-2')."
                )
            former._finish(former._left_by)  # noqa: SLF001 - its own class

    def _prepare_alone(self) -> None:
        try:
            self._prepare()
        except BaseException:
            occupied.let_go(self._layout.root)
            self._backend.close()
            raise

    def _prepare(self) -> None:
        """Makes the folder, and takes over from the earlier run in it or clears that away."""
        with self._losses.forgiven(self._layout.root):
            self._layout.root.mkdir(parents=True, exist_ok=True)
            if not occupied.take(self._layout.root):
                raise RunInProgressError(
                    f"Another process is logging to '{self.dir}'. Give each run its own folder: "
                    f"Live(dir='{self.dir}-2')."
                )
            files.sweep(self._layout.root)
            if not self._resume:
                remains.clear(self._layout, report=self._reporter.mode)
                return
            former = remains.load(self._layout)
            remains.clear_reports(self._layout, but=self._reporter.mode)
            self.summary = former.summary
            self._names.reserve(former.summary)
            self._step = former.next_step
            self._params = former.params
            self._plots = {plot.path: plot for plot in former.plots}
            self._artifacts = dict(former.artifacts)
            self._has_images = former.has_images
            self._metrics.resumed = former.has_metrics
            if former == remains.Remains():
                logger.info("There is no run in '%s' to resume: a new one begins.", self.dir)
            else:
                logger.info("Resumed '%s' at step %d.", self.dir, self._step)

    # -- what the run is ---------------------------------------------------------------

    @property
    def dir(self) -> str:
        """The run's folder, as given."""
        return self._layout.given

    @property
    def plots_dir(self) -> str:
        """The folder over all plots."""
        return self._layout.shown(self._layout.plots_dir)

    @property
    def metrics_file(self) -> str:
        """The file of the summary."""
        return self._layout.shown(self._layout.metrics_file)

    @property
    def params_file(self) -> str:
        """The file of the parameters."""
        return self._layout.shown(self._layout.params_file)

    @property
    def artifacts_dir(self) -> str:
        """The folder of copied artifacts."""
        return self._layout.shown(self._layout.artifacts_dir)

    @property
    def dvc_file(self) -> str:
        """The dvc.yaml that `make_dvcyaml` writes."""
        return self._layout.shown_dvcyaml

    @property
    def report_file(self) -> str | None:
        """The report, where the mode leaves a file."""
        if self._reporter.mode not in {"html", "md"}:
            return None
        return self._layout.shown(self._layout.report_file(self._reporter.mode))

    @property
    def step(self) -> int:
        """The present step: 0 until it is set or `next_step()` is called. May be set to any int."""
        return self._step or 0

    @step.setter
    def step(self, value: int) -> None:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise InvalidDataTypeError("step", type(value), "a whole number")
        self._step = int(value)

    def read_step(self) -> int:
        """The step that metrics.json holds; 0 when there is none."""
        step = self.read_latest().get("step", 0)
        return step if isinstance(step, int) else 0

    def read_latest(self) -> dict[str, Any]:
        """What metrics.json holds; empty when there is none."""
        return summary.read(self._layout.metrics_file)

    # -- logging -----------------------------------------------------------------------

    def log_metric(
        self,
        name: str,
        val: Any,
        timestamp: bool = False,
        plot: bool = True,
    ) -> None:
        """Logs one value of a metric at the present step.

        Appends a row to `plots/metrics/{name}.tsv` and puts the value into `summary`; both
        outlive a kill of the process from here on.

        Args:
            name: parts between `/` become folders.
            val: int, float, str, bool, or a scalar of NumPy, torch, jax or tensorflow.
            timestamp: adds a column of milliseconds since the epoch.
            plot: False keeps the value out of the plots; it is in metrics.json alone.

        Raises:
            InvalidDataTypeError: `val` is no single value.
            InvalidNameError: `name` cannot be a metric's.
        """
        value, cell = metrics.to_scalar(name, val)
        with self._lock:
            if self._saved is not None:
                self._tell_that_saved()
            if type(name) is not str or name not in self._names:
                name = self._new_name(name, plot=plot, timestamp=timestamp)
            summary.put(self.summary, name, value)
            if self._muted:
                self._tell_that_forked()
                return
            if plot:
                self._metrics.append(name, self._step or 0, cell, timestamp=timestamp)
            else:
                self._write_summary()
                self._describe_what_is_new(known=self._described is not None)

    def _tell_that_forked(self) -> None:
        if self._forked:
            self._forked = False
            logger.warning(
                "Process %d was forked from the one this run belongs to: what it logs is left out. "
                "Log from the parent, or make a Live() of its own in another folder.",
                os.getpid(),
            )

    def _tell_that_saved(self) -> None:
        if self._saved is not None:
            commit, self._saved = self._saved, None
            logger.warning(
                "The run in '%s' has ended and is the experiment %s: what is logged after that is "
                "in its folder, but not in the experiment. Log it before end(), or inside the "
                "`with` block.",
                self.dir,
                commit[:7],
            )

    def _new_name(self, name: Any, *, plot: bool, timestamp: bool) -> str:
        """The name of a metric that was not logged before, once nothing speaks against it."""
        text = self._names.checked(name)
        summary.check(self.summary, text)
        if plot and not self._muted:
            self._metrics.prepare(text, timestamp=timestamp)
        self._names.add(text)
        return text

    def log_param(self, name: str, val: Any) -> None:
        """Logs one parameter; see `log_params`."""
        self.log_params({name: val})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Logs parameters, written to `params.yaml` at once.

        Takes nested dicts, lists, numbers, strings, booleans and None; NumPy scalars, paths,
        enums, dates and dataclasses are converted.

        Raises:
            InvalidParameterTypeError: a value that DVC could not read back.
        """
        fresh = parameters.converted_all(params)
        with self._lock:
            self._tell_that_saved()
            known = bool(self._params)
            self._params = parameters.merged(self._params, fresh)
            if not self._muted:
                with self._losses.forgiven(self._layout.params_file):
                    if not known:
                        remains.make_way(self._layout.params_file, self._params)
                    parameters.write(self._layout.params_file, self._params)
                self._describe_what_is_new(known=known)

    def log_image(self, name: str, val: Any) -> None:
        """Saves an image as `plots/images/{name}`, replacing one of that name.

        Args:
            name: ends in .jpg, .jpeg, .gif or .png; a path's own ending is taken when missing.
            val: a NumPy array (HxW, HxWx1, HxWx3, HxWx4), a PIL image, a matplotlib figure
                (closed afterwards), or the path of an image file.

        Raises:
            InvalidImageNameError: `name` has another ending, or none.
            InvalidNameError: `name` cannot be a file's.
            InvalidDataTypeError, InvalidImageDataError: `val` is no picture.
            MissingExtraError: it takes Pillow, which is not installed.
        """
        picture = images.checked(name, val)
        if self._muted:
            picture.done()
            return
        with self._lock, self._losses.forgiven(self._layout.images_dir):
            self._tell_that_saved()
            if picture.name not in self._image_names:
                names.check_spelling(self._layout.images_dir, picture.name, "Image")
                self._image_names.add(picture.name)
            images.write(self._layout, picture)
            known, self._has_images = self._has_images, True
            self._describe_what_is_new(known=known)

    def log_plot(
        self,
        name: str,
        datapoints: Any,
        x: str,
        y: str | Sequence[str],
        template: str | None = "linear",
        title: str | None = None,
        x_label: str | None = None,
        y_label: str | None = None,
    ) -> None:
        """Saves datapoints as `plots/custom/{name}.json` with how DVC shall draw them.

        Args:
            name: of the plot; parts between `/` become folders.
            datapoints: list of dicts, pandas frame, structured or two-dimensional NumPy array
                (its columns are called 0, 1, ...).
            x: the column of the x axis.
            y: the column, or columns, of the y axis.
            template: one of DVC's plot templates.
            title: over the plot.
            x_label: of the x axis.
            y_label: of the y axis.

        Raises:
            InvalidNameError: `name` cannot be a file's.
            InvalidDataTypeError: an argument or a value has a type that cannot be logged.
            InvalidPlotDataError: there are no rows, or one lacks `x` or a `y`.
        """
        custom = plots.checked(
            self._layout, name, datapoints, x, y, template, title, x_label, y_label
        )
        self._keep_plot(custom)

    def log_sklearn_plot(
        self,
        kind: str,
        labels: Any,
        predictions: Any,
        name: str | None = None,
        title: str | None = None,
        x_label: str | None = None,
        y_label: str | None = None,
        normalized: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Computes one of scikit-learn's curves and saves it as `plots/sklearn/{name}.json`.

        Args:
            kind: calibration, confusion_matrix, det, precision_recall or roc.
            labels: the true labels.
            predictions: predicted labels (confusion_matrix) or scores.
            name: `kind` when not given.
            title: over the plot.
            x_label: of the x axis.
            y_label: of the y axis.
            normalized: a confusion matrix in shares of each predicted label, as DVC draws it.
            **kwargs: go to scikit-learn's function.

        Raises:
            InvalidPlotTypeError: `kind` is none of the five.
            InvalidPlotDataError: labels and predictions do not belong together.
            MissingExtraError: scikit-learn is not installed.
        """
        curve = sklearn.computed(
            self._layout,
            kind,
            labels,
            predictions,
            name,
            title,
            x_label,
            y_label,
            normalized=normalized,
            **kwargs,
        )
        self._keep_plot(curve)

    def _keep_plot(self, data: plots.PlotData) -> None:
        with self._lock:
            self._tell_that_saved()
            if data.plot.path not in self._plots:
                file = data.plot.path.relative_to(self._layout.plots_dir)
                names.check_spelling(self._layout.plots_dir, file.as_posix(), "Plot")
            known = self._plots.get(data.plot.path) == data.plot
            self._plots[data.plot.path] = data.plot
            if not self._muted:
                with self._losses.forgiven(data.plot.path):
                    plots.write(data)
                self._describe_what_is_new(known=known)

    def _describe_what_is_new(self, *, known: bool) -> None:
        # How a plot is drawn, and what an artifact is, stand in dvc.yaml alone: a kill before the
        # next step must not lose them. And by dvc.yaml the next run knows that parameters, images
        # and a summary without a metric's file are a run's.
        if not known and self._layout.dvcyaml_on:
            self.make_dvcyaml()

    def log_artifact(
        self,
        path: StrPath,
        type: str | None = None,  # noqa: A002 - the name users know
        name: str | None = None,
        desc: str | None = None,
        labels: list[str] | None = None,
        meta: dict[str, Any] | None = None,
        copy: bool = False,
        cache: bool = True,
    ) -> None:
        """Tracks a file or folder with DVC and describes it in the run's dvc.yaml.

        Args:
            path: what to track; `{path}.dvc` is written beside it and Git ignores the path.
            type: "model" shows it in model registries.
            name: its key in dvc.yaml; the file's name without its ending when not given.
            desc: a sentence about it.
            labels: words to find it by.
            meta: whatever YAML can hold.
            copy: copies it to `{dir}/artifacts/` first and tracks the copy.
            cache: False describes it only.

        Raises:
            ArtifactError: the path cannot be tracked; the text says what to do instead.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidDataTypeError(path, path.__class__, "a path")
        if not os.fspath(path):
            raise ArtifactNotFoundError("The artifact's path is empty. Name a file or folder.")
        target = Path(os.path.abspath(path))  # noqa: PTH100 - a link is tracked as what it is
        entry = descriptions.described(
            target, type=type, name=name, desc=desc, labels=labels, meta=meta
        )
        if self._muted:
            return
        with self._lock:
            self._tell_that_saved()
            fresh_copy = False
            if copy:
                fresh_copy = artifacts.is_new(self._layout, target)
                try:
                    target = artifacts.copy_into(self._layout, target, self._copies)
                except ArtifactError:
                    raise
                except OSError as error:
                    self._losses.note(self._layout.artifacts_dir / target.name, error)
                    return
            try:
                tracked = self._backend.track(target, cache=cache)
            except ArtifactError:
                if fresh_copy:
                    artifacts.discard(target, self._copies)
                raise
            if entry is not None:
                key, artifact = entry
                artifact = dataclasses.replace(artifact, path=tracked.path)
                known = self._artifacts.get(key) == artifact
                self._artifacts[key] = artifact
                self._describe_what_is_new(known=known)

    def monitor_system(
        self,
        interval: float = 0.05,
        num_samples: int = 20,
        directories_to_monitor: Mapping[str, str] | None = None,
    ) -> None:
        """Logs the use of CPU, memory, disk and GPU under `system/`, from a thread of its own.

        Args:
            interval: seconds between samples, 0.1 at most.
            num_samples: how many samples make one logged average, 1 to 30.
            directories_to_monitor: names and folders whose disks are watched.
        """
        from .monitor import SystemMonitor

        if self._muted:
            return
        fresh = SystemMonitor(
            self._log_of_machine, interval, num_samples, directories_to_monitor or {"main": "/"}
        )
        self._end_monitor()
        self._monitor = fresh

    def _log_of_machine(self, name: str, val: float, *, plot: bool) -> None:
        with self._lock:
            # A sample that waited for the lock while the run ended comes too late.
            if self._monitor is not None:
                self.log_metric(name, val, timestamp=True, plot=plot)

    def _end_monitor(self) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            monitor.stop()

    # -- writing out -------------------------------------------------------------------

    def make_summary(self) -> None:
        """Writes `summary`, and the step once there is one, to metrics.json."""
        with self._lock:
            if self._step is not None:
                self.summary["step"] = self._step
            self._write_summary()

    def _write_summary(self) -> None:
        # Without a word on the step: between two steps the file still says the last complete one.
        if not self._muted:
            with self._losses.forgiven(self._layout.metrics_file):
                summary.write(self._layout.metrics_file, self.summary)

    def make_dvcyaml(self) -> None:
        """Merges what the run has logged into its dvc.yaml."""
        if self._muted:
            return
        with self._lock:
            entries = self._entries()
            self._backend.describe(entries)
            self._described = entries

    def make_report(self) -> None:
        """Draws the report anew."""
        if self._muted:
            return
        with self._lock:
            self._reporter.build(self._facts())

    def sync(self) -> None:
        """Writes summary, dvc.yaml and report; the latter two only where that is due."""
        with self._lock:
            self._metrics.keep_in_place(at_last=self._outcome is not None)
            try:
                self.make_summary()
            finally:
                # A value in `summary` that cannot be written costs the other two nothing.
                if self._layout.dvcyaml_on and self._entries() != self._described:
                    self.make_dvcyaml()
                if self._outcome is not None or self._reporter.due():
                    self.make_report()

    def next_step(self) -> None:
        """Writes out what the step brought, then adds one to `step`."""
        with self._lock:
            if self._step is None:
                self._step = 0
            self.sync()
            if not self._muted:
                self._backend.step(self._step)
            self._step += 1

    def end(self) -> None:
        """Ends the run: writes everything out and saves the experiment.

        Inside a `with` block it does nothing: leaving the block ends the run.
        """
        if not self._inside_with:
            self._finish(self._left_by)

    def _finish(self, outcome: Outcome) -> None:
        """Ends the run with how it ended; a second time only writes out what came since."""
        # Noted before anything can cut in: what is not saved is kept with how it ended.
        if not self._muted:
            outcome = dataclasses.replace(outcome, step=self._last_step())
            self._outcome = outcome = self._outcome or outcome
        try:
            self._end_monitor()  # outside the lock, for which its thread may be waiting
        except BaseException:
            self._close(outcome)
            raise
        with self._lock:
            self._step = self._last_step()
            if self._muted:
                # Not ended: it is its parent that a forked child must not take the folder from.
                return
            try:
                if self._has_images and (
                    self._cache_images or self._layout.images_pointer.exists()
                ):
                    # A run that goes on with cached images keeps them so: their pointer, as it
                    # was, would stand for its own in the experiment.
                    self._cache_logged_images()
                self._sync_at_last()
                self._metrics.close()
                if not self._ended:
                    self._saved = self._backend.save(outcome)
                    self._tell_how_to_go_on(outcome)
                self._losses.tell()
            finally:
                # Also where a second Ctrl-C cut in: what is not saved is noted for a later run.
                self._close(outcome)

    def _tell_how_to_go_on(self, outcome: Outcome) -> None:
        if self._saved is None or outcome.status is Status.COMPLETED:
            return
        step = self.summary.get("step")
        logger.info(
            "The %s run is saved as the experiment '%s'; Live(%sresume=True) goes on from step %d.",
            outcome.status.value,
            self._backend.run.name,
            "" if self.dir == "dvclive" else f"dir={self.dir!r}, ",
            step + 1 if isinstance(step, int) else 0,
        )

    def _last_step(self) -> int | None:
        # The step after the last next_step() never began: say the last one that did.
        last = self.summary.get("step")
        return last if isinstance(last, int) else self._step

    def _close(self, outcome: Outcome) -> None:
        """Lets go of everything, once: the folder may be another run's by the next time."""
        if self._muted or self._ended:
            return
        self._backend.close(outcome)
        self._watch.cancel()
        occupied.let_go(self._layout.root)
        self._ended = True

    def _sync_at_last(self) -> None:
        # What a user put into `summary` by hand may be refused; the run is saved all the same, and
        # an exception that ends the training is not hidden behind this one.
        try:
            self.sync()
        except Exception as error:  # noqa: BLE001 - see above
            logger.warning("The run's files could not all be written: %s", error)

    def _cache_logged_images(self) -> None:
        try:
            self._backend.track(self._layout.images_dir)
        except ArtifactError as error:
            logger.warning("The images are not cached: %s", error)

    def _entries(self) -> Entries:
        layout = self._layout
        drawn = []
        if self._metrics:
            drawn.append(Plot(layout.metrics_dir, {"x": "step"}))
        if self._has_images:
            drawn.append(Plot(layout.images_dir))
        return Entries(
            params=(layout.params_file,) if self._params else (),
            metrics=(layout.metrics_file,) if self.summary or self._metrics else (),
            plots=(*drawn, *self._plots.values()),
            artifacts=dict(self._artifacts),
        )

    def _facts(self) -> reports.Facts:
        return reports.Facts(
            run=self._backend.run,
            entries=self._entries(),
            started=self._started,
            step=self._step,
            outcome=self._outcome,
        )

    # -- as a context manager ----------------------------------------------------------

    def __enter__(self) -> Self:
        self._inside_with = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside_with = False
        self._left_by = ending.outcome_of(exc)
        # Not `_finish`: a subclass of the user's may do more in `end`.
        self.end()


# Every run that writes; a forked child must keep its hands off its parent's files.
_watched: weakref.WeakSet[Live] = weakref.WeakSet()


def _mute_in_child() -> None:
    for live in _watched:
        # Once said is enough, and a further rank has said it.
        live._forked = not live._muted  # noqa: SLF001 - its own module
        live._muted = True  # noqa: SLF001 - its own module
        # The lock may have been held by a thread that does not exist in the child.
        live._lock = ending.Section()  # noqa: SLF001 - its own module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mute_in_child)


def _live_threads() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate()}


def _default_backend(settings: Settings) -> Backend:
    """The backend for the working directory; the repository half is imported only for this."""
    if settings.rank > 0 or settings.test:
        return NullBackend()
    from .repo import backend as repository

    found = repository.find(redraw=reports.redraw)
    return NullBackend(found) if isinstance(found, str) else found
