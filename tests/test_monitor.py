"""The machine's use is logged from a thread that ends with the run."""

from __future__ import annotations

import json
import sys
import threading
import time
import types
from pathlib import Path

import psutil
import pytest
from recording import RecordingBackend
from situations import python

from dvclive_dvc import Live
from dvclive_dvc.errors import CallerError, InvalidDataTypeError, InvalidNameError
from dvclive_dvc.monitor import SystemMonitor

FOLDERS = {"main": "/"}


@pytest.fixture
def live():
    made = Live(report=None, backend=RecordingBackend())
    yield made
    made.end()


class Log:
    """Keeps what a monitor logs."""

    def __init__(self):
        self.values: dict[str, list[float]] = {}
        self.plotted: dict[str, bool] = {}

    def __call__(self, name, val, *, plot):
        self.values.setdefault(name, []).append(val)
        self.plotted[name] = plot


def until(there, what: str) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def watched(**more) -> Log:
    """What one monitor logged until it had logged everything twice."""
    log = Log()
    monitor = SystemMonitor(
        log, **{"interval": 0.01, "num_samples": 2, "directories": FOLDERS, **more}
    )
    until(lambda: len(log.values.get("system/ram/total (GB)", [])) > 1, "two averages")
    monitor.stop()
    return log


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "dvclive-monitor"]


NAMES = {
    "system/cpu/count", "system/cpu/usage (%)", "system/cpu/parallelization (%)",
    "system/ram/usage (%)", "system/ram/usage (GB)", "system/ram/total (GB)",
    "system/disk/usage (%)/main", "system/disk/usage (GB)/main", "system/disk/total (GB)/main",
}  # fmt: skip
CONSTANT = {"system/cpu/count", "system/ram/total (GB)", "system/disk/total (GB)/main"}


def test_metrics_have_the_names_users_know_and_constants_no_plot():
    log = watched()
    assert set(log.values) == NAMES
    assert {name for name, plot in log.plotted.items() if not plot} == CONSTANT
    assert log.values["system/cpu/count"][0] == psutil.cpu_count()
    assert type(log.values["system/cpu/count"][0]) is int
    total = psutil.virtual_memory().total / 2**30
    assert log.values["system/ram/total (GB)"][0] == pytest.approx(total)
    for name in NAMES:
        if "(%)" in name:
            assert all(0 <= value <= 100 for value in log.values[name]), name


def test_a_run_holds_them_with_their_time(live):
    live.monitor_system(interval=0.01, num_samples=1)
    path = Path("dvclive/plots/metrics/system/cpu/usage (%).tsv")
    until(lambda: path.exists() and path.read_text().count("\n") > 2, "rows")
    live.end()
    assert path.read_text().splitlines()[0] == "timestamp\tstep\tusage (%)"
    written = {
        p.relative_to("dvclive/plots/metrics").as_posix().removesuffix(".tsv")
        for p in Path("dvclive/plots/metrics").rglob("*.tsv")
    }
    assert written == NAMES - CONSTANT
    summary = json.loads(Path("dvclive/metrics.json").read_text())
    assert summary["system"]["cpu"]["count"] == psutil.cpu_count()


def test_the_constructor_may_ask_for_it():
    with Live(report=None, backend=RecordingBackend(), monitor_system=True):
        assert len(threads()) == 1
        assert threads()[0].daemon, "a training that dies must not wait for it"
    assert not threads()


def test_nothing_is_logged_after_the_end(live):
    live.monitor_system(interval=0.001, num_samples=1)
    until(lambda: "system" in live.summary, "a first average")
    live.end()
    assert not threads()
    path = Path("dvclive/plots/metrics/system/cpu/usage (%).tsv")
    before = path.read_bytes()
    time.sleep(0.1)
    assert path.read_bytes() == before


def test_calling_it_again_ends_the_former_thread(live):
    for _ in range(3):
        live.monitor_system(interval=0.01)
    assert len(threads()) == 1


def test_the_share_of_busy_cores_counts_those_at_a_fifth_and_more(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_percent", lambda percpu: [10, 20, 90, 19.9, 20, 0])  # noqa: ARG005 - psutil's name
    monkeypatch.setattr(psutil, "cpu_count", lambda: 6)
    log = watched()
    assert log.values["system/cpu/parallelization (%)"][0] == 50
    assert log.values["system/cpu/usage (%)"][0] == pytest.approx(159.9 / 6)


def test_values_are_averages_of_the_samples(monkeypatch):
    used = iter([0, *[10, 20, 30, 40] * 1000])  # the first is thrown away: psutil warms up
    memory = types.SimpleNamespace(used=2**30, total=2**31)

    def virtual_memory():
        memory.percent = next(used)
        return memory

    monkeypatch.setattr(psutil, "virtual_memory", virtual_memory)
    log = watched(num_samples=4)
    assert log.values["system/ram/usage (%)"][:2] == [25, 25]
    assert log.values["system/ram/usage (GB)"][0] == 1


def test_a_folder_that_is_not_there_is_said_once_and_the_others_are_watched(caplog, tmp_path):
    log = watched(directories={"data": str(tmp_path), "gone": "/no/such/folder"})
    assert "system/disk/usage (%)/data" in log.values
    assert not [name for name in log.values if name.endswith("/gone")]
    said = [r.getMessage() for r in caplog.records if "/no/such/folder" in r.getMessage()]
    assert len(said) == 1


def test_a_mount_point_or_a_hidden_folder_names_its_disk():
    log = watched(directories={"/data": "/", ".cache": "/"})
    assert "system/disk/usage (%)/data" in log.values
    assert "system/disk/usage (%)/.cache" in log.values


def test_a_probe_that_fails_costs_only_its_own_values(monkeypatch, caplog):
    def broken(**_):
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "cpu_percent", broken)
    log = watched()
    assert set(log.values) == {name for name in NAMES if "/cpu/" not in name}
    assert len([r for r in caplog.records if "cannot be read" in r.getMessage()]) == 1


# -- GPUs: no driver here, so NVIDIA's library is played by its own interface ---------------


class FakeNvml(types.ModuleType):
    class NVMLError(Exception):
        pass

    def __init__(self, *, driver: bool):
        super().__init__("pynvml")
        self.driver = driver

    def nvmlInit(self):  # noqa: N802 - NVIDIA's name
        if not self.driver:
            raise self.NVMLError

    nvmlDeviceGetCount = staticmethod(lambda: 2)  # noqa: N815 - as above
    nvmlDeviceGetHandleByIndex = staticmethod(lambda i: i)  # noqa: N815 - as above
    nvmlDeviceGetMemoryInfo = staticmethod(  # noqa: N815 - as above
        lambda i: types.SimpleNamespace(used=(i + 1) * 2**30, total=4 * 2**30)
    )
    nvmlDeviceGetUtilizationRates = staticmethod(  # noqa: N815 - as above
        lambda i: types.SimpleNamespace(memory=10 * i, gpu=20 * i)
    )


def test_gpus_are_watched_where_there_are_some(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(driver=True))
    log = watched()
    gpus = {name: value[0] for name, value in log.values.items() if "gpu" in name or "vram" in name}
    assert gpus == {
        "system/gpu/count": 2,
        "system/gpu/usage (%)/0": 0, "system/gpu/usage (%)/1": 50,
        "system/vram/usage (%)/0": 25, "system/vram/usage (%)/1": 50,
        "system/vram/usage (GB)/0": 1, "system/vram/usage (GB)/1": 2,
        "system/vram/total (GB)/0": 4, "system/vram/total (GB)/1": 4,
    }  # fmt: skip
    assert not log.plotted["system/vram/total (GB)/1"]
    assert not log.plotted["system/gpu/count"]


@pytest.mark.parametrize("library", [None, FakeNvml(driver=False)], ids=["no library", "no driver"])
def test_without_a_gpu_everything_else_is_watched_without_a_word(monkeypatch, caplog, library):
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert set(watched().values) == NAMES
    assert not caplog.records


# -- arguments -----------------------------------------------------------------------------


def test_too_long_an_interval_and_too_many_samples_are_brought_into_bounds(caplog):
    for more in ({"interval": 3600}, {"num_samples": 0}, {"num_samples": 31}):
        caplog.clear()
        monitor = SystemMonitor(
            Log(), **{"interval": 0.05, "num_samples": 20, "directories": FOLDERS, **more}
        )
        monitor.stop()
        assert next(iter(more)) in caplog.text, more


@pytest.mark.parametrize("samples", [1, 30])
def test_the_bounds_themselves_are_fine(caplog, samples):
    SystemMonitor(Log(), 0.1, samples, FOLDERS).stop()
    assert not caplog.records


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"interval": 0}, ValueError),
        ({"interval": -1}, ValueError),
        ({"interval": float("nan")}, ValueError),
        ({"interval": "1"}, InvalidDataTypeError),
        ({"num_samples": 1.5}, InvalidDataTypeError),
        ({"directories_to_monitor": {"a": 1}}, InvalidDataTypeError),
        ({"directories_to_monitor": {1: "/"}}, InvalidDataTypeError),
        ({"directories_to_monitor": ["/"]}, InvalidDataTypeError),
        ({"directories_to_monitor": {"": "/"}}, InvalidNameError),
        ({"directories_to_monitor": {"../x": "/"}}, InvalidNameError),
        ({"directories_to_monitor": {"/": "/"}}, InvalidNameError),
        ({"directories_to_monitor": {"a\tb": "/"}}, InvalidNameError),
        ({"directories_to_monitor": {"x" * 300: "/"}}, InvalidNameError),
        ({"directories_to_monitor": {"a": "/", "a/b": "/"}}, InvalidNameError),
        ({"directories_to_monitor": {"a/b": "/", "a.b": "/"}}, InvalidNameError),
        ({"directories_to_monitor": {"/a": "/", "a": "/"}}, InvalidNameError),
        ({"directories_to_monitor": {"a//b": "/"}}, ValueError),
    ],
)  # fmt: skip
def test_a_bad_argument_is_refused_and_changes_nothing(live, more, error):
    live.monitor_system()
    before = threads()
    with pytest.raises(error) as caught:
        live.monitor_system(**more)
    assert isinstance(caught.value, CallerError)
    assert threads() == before


def test_a_script_that_dies_with_its_monitor_running_exits_at_once():
    source = """
from dvclive_dvc import Live
from dvclive_dvc.null import NullBackend
live = Live(report=None, backend=NullBackend(), monitor_system=True)
raise SystemExit(3)
"""
    begun = time.monotonic()
    assert python(source, check=False).returncode == 3
    assert time.monotonic() - begun < 20
