"""The use of CPU, memory, disk and GPU, logged from a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from .errors import InvalidDataTypeError, InvalidNameError, InvalidValueError
from .logs import metrics, summary
from .notices import logger

_GB = 2**30
_MAX_INTERVAL = 0.1
_SAMPLES = (1, 30)
_PATIENCE = 1.0  # seconds
_BUSY = 20  # percent of use from which a core counts as working


class _Log(Protocol):
    def __call__(self, name: str, val: float, *, plot: bool) -> None: ...


class _Probe(Protocol):
    def __call__(self) -> dict[str, float]: ...


class SystemMonitor:
    """Samples the machine and logs averages until `stop()`.

    Args:
        log: logs one average; `plot` is False for what never changes.
        interval: seconds between samples, 0.1 at most.
        num_samples: how many samples make one logged average, 1 to 30.
        directories: names and folders whose disks are watched.

    Raises:
        InvalidDataTypeError: an argument has a type that makes no sense.
        InvalidNameError: a key of `directories` cannot be a metric's name.
        InvalidValueError: `interval` is not above zero.
    """

    def __init__(
        self,
        log: _Log,
        interval: float,
        num_samples: int,
        directories: Mapping[str, str | os.PathLike[str]],
    ) -> None:
        self._log = log
        self._interval = _checked_interval(interval)
        self._num_samples = _checked_samples(num_samples)
        self._sources: list[_Probe] = [
            _cpu,
            _memory,
            _disks(_checked_directories(directories)),
            _Gpus(),
        ]
        self._silent: set[int] = set()
        self._pid = os.getpid()
        self._stop = threading.Event()
        # A daemon: a training that dies without `end()` must not wait for its monitor.
        self._thread = threading.Thread(target=self._watch, name="dvclive-monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        # In a forked child there is no thread to wait for. The wait is short, because a signal's
        # handler may end the run while the code it interrupted holds what the thread waits for.
        if self._pid == os.getpid() and self._thread is not threading.current_thread():
            self._thread.join(timeout=_PATIENCE)

    def _watch(self) -> None:
        self._sample()  # psutil's first word is always 0: it measures since the last call
        while not self._stop.is_set():
            sums: dict[str, float] = {}
            counts: dict[str, int] = {}
            for _ in range(self._num_samples):
                for name, value in self._sample().items():
                    sums[name] = sums.get(name, 0) + value
                    counts[name] = counts.get(name, 0) + 1
                if self._stop.wait(self._interval):
                    return
            for name, total in sums.items():
                if self._stop.is_set():
                    return
                self._log_average(name, total / counts[name])

    def _log_average(self, name: str, value: float) -> None:
        constant = name.startswith(_CONSTANTS)
        kept = int(value) if name.endswith("/count") else value
        try:
            self._log(name, kept, plot=not constant)
        except Exception as error:  # noqa: BLE001 - a monitor must not fail loudly in a thread
            logger.warning("System metrics are no longer logged: %s", error)
            self._stop.set()

    def _sample(self) -> dict[str, float]:
        """One sample of all that can be had; what fails is said once and left out."""
        found: dict[str, float] = {}
        for number, source in enumerate(self._sources):
            found.update(self._asked(number, source))
        return found

    def _asked(self, number: int, source: _Probe) -> dict[str, float]:
        try:
            return source()
        except Exception as error:  # noqa: BLE001 - one broken probe must not end the others
            if number not in self._silent:
                self._silent.add(number)
                logger.warning("Some system metrics cannot be read: %s", error)
            return {}


_CONSTANTS = (
    "system/cpu/count",
    "system/ram/total (GB)",
    "system/disk/total (GB)",
    "system/gpu/count",
    "system/vram/total (GB)",
)


def _checked_interval(interval: Any) -> float:
    if isinstance(interval, bool) or not isinstance(interval, (int, float)):
        raise InvalidDataTypeError("interval", type(interval), "seconds, above 0 and up to 0.1")
    if not interval > 0:
        raise InvalidValueError(f"`interval` must be above 0 seconds. Got {interval!r} instead.")
    if interval > _MAX_INTERVAL:
        logger.warning(
            "System monitoring takes a sample at least every %s seconds: `interval` is %s now.",
            _MAX_INTERVAL, _MAX_INTERVAL,
        )  # fmt: skip
        return _MAX_INTERVAL
    return float(interval)


def _checked_samples(num_samples: Any) -> int:
    if isinstance(num_samples, bool) or not isinstance(num_samples, int):
        raise InvalidDataTypeError("num_samples", type(num_samples), "a whole number, 1 to 30")
    low, high = _SAMPLES
    kept = min(max(num_samples, low), high)
    if kept != num_samples:
        logger.warning(
            "System monitoring averages %d to %d samples: `num_samples` is %d now.",
            low, high, kept,
        )  # fmt: skip
    return kept


def _checked_directories(directories: Mapping[str, Any]) -> dict[str, str]:
    checked: dict[str, str] = {}
    taken = metrics.Names()
    together: dict[str, Any] = {}
    if not isinstance(directories, Mapping):
        raise InvalidDataTypeError(
            "directories_to_monitor", type(directories), "a dict of names and folders"
        )
    for name, folder in directories.items():
        if not isinstance(name, str) or not isinstance(folder, (str, os.PathLike)):
            raise InvalidDataTypeError(
                "directories_to_monitor", type(directories), "a dict of names and folders"
            )
        # DVCLive takes a mount point, such as "/data", for a name.
        key = name.lstrip("/")
        try:
            metric = taken.checked(f"{_DISK}/{key}")
            summary.put(together, metric, 0)
        except InvalidNameError as error:
            raise InvalidNameError(
                f"A key of `directories_to_monitor` ends a metric's name, which {name!r} cannot: "
                f"{error}"
            ) from error
        if key in checked:
            raise InvalidNameError(f"Two keys of `directories_to_monitor` are both {key!r}.")
        taken.add(metric)
        checked[key] = os.fspath(folder)
    return checked


_DISK = "system/disk/usage (GB)"


# -- probes --------------------------------------------------------------------------------


def _cpu() -> dict[str, float]:
    import psutil

    cores = psutil.cpu_percent(percpu=True)
    count = psutil.cpu_count() or len(cores)
    return {
        "system/cpu/count": count,
        "system/cpu/usage (%)": sum(cores) / len(cores),
        "system/cpu/parallelization (%)": 100 * sum(core >= _BUSY for core in cores) / count,
    }


def _memory() -> dict[str, float]:
    import psutil

    memory = psutil.virtual_memory()
    return {
        "system/ram/usage (%)": memory.percent,
        "system/ram/usage (GB)": memory.used / _GB,
        "system/ram/total (GB)": memory.total / _GB,
    }


def _disks(directories: dict[str, str]) -> _Probe:
    missing: set[str] = set()

    def probe() -> dict[str, float]:
        import psutil

        found: dict[str, float] = {}
        for name, folder in directories.items():
            try:
                disk = psutil.disk_usage(folder)
            except OSError as error:
                if name not in missing:
                    missing.add(name)
                    logger.warning(
                        "The disk of '%s' is not monitored: %s.", folder, error.strerror or error
                    )
                continue
            found[f"system/disk/usage (%)/{name}"] = disk.percent
            found[f"{_DISK}/{name}"] = disk.used / _GB
            found[f"system/disk/total (GB)/{name}"] = disk.total / _GB
        return found

    return probe


class _Gpus:
    """NVIDIA's GPUs, when their library and a driver are there; else nothing, without a word."""

    def __init__(self) -> None:
        self._library: Any = None
        self._tried = False

    def __call__(self) -> dict[str, float]:
        if not self._tried:
            self._tried = True
            self._library = _nvml()
        nvml = self._library
        if nvml is None:
            return {}
        count = nvml.nvmlDeviceGetCount()
        found: dict[str, float] = {"system/gpu/count": count}
        for i in range(count):
            handle = nvml.nvmlDeviceGetHandleByIndex(i)
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            usage = nvml.nvmlDeviceGetUtilizationRates(handle)
            # As users of `dvclive` know it: the share of the busy time in which memory moved.
            found[f"system/gpu/usage (%)/{i}"] = (
                100 * usage.memory / usage.gpu if usage.gpu else 0.0
            )
            found[f"system/vram/usage (%)/{i}"] = 100 * memory.used / memory.total
            found[f"system/vram/usage (GB)/{i}"] = memory.used / _GB
            found[f"system/vram/total (GB)/{i}"] = memory.total / _GB
        return found


def _nvml() -> Any:
    """NVIDIA's management library, ready to be asked; None where there is none, or no driver.

    The package can be installed where no driver is: every call would fail then.
    """
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
