"""The work that is timed, run as a program: `python work.py FUNCTION '{"module": ..., ...}'`.

`module` is `dvclive_dvc` or `dvclive`; each function does the same with either and prints what
it measured as one line of JSON. Times called `now` are points on the system's monotonic clock,
which the starting process shares; all others are seconds.
"""

import json
import sys
import time


def _live(module, **arguments):
    live_class = __import__(module).Live
    # Neither draws a report where the report is not what is measured.
    return live_class(**{"report": None, **arguments})


# -- starting ------------------------------------------------------------------------------


def first_metric(module):
    live = _live(module)
    live.log_metric("loss", 0.5)
    now = time.monotonic()
    live.end()
    return {"now": now}


def import_pygit2(module):
    import pygit2

    return {"now": time.monotonic(), "version": pygit2.__version__}


def start(module):
    __import__(module)
    begun = time.perf_counter()
    live = _live(module)
    seconds = time.perf_counter() - begun
    live.end()
    return {"seconds": seconds}


# -- logging -------------------------------------------------------------------------------

NAMES = [f"train/metric_{number}" for number in range(10)]


def log_metric(module, steps):
    live = _live(module, save_dvc_exp=False)
    spent = 0.0
    for step in range(steps):
        live.step = step
        begun = time.perf_counter()
        for name in NAMES:
            live.log_metric(name, 0.123456789 + step)
        spent += time.perf_counter() - begun
    live.end()
    return {"seconds": spent / (steps * len(NAMES))}


def write_lines(module, steps):
    files = [open(f"line_{number}.tsv", "ab", buffering=0) for number in range(10)]
    spent = 0.0
    for step in range(steps):
        begun = time.perf_counter()
        for file in files:
            file.write(f"{step}\t{0.123456789 + step}\n".encode())
        spent += time.perf_counter() - begun
    return {"seconds": spent / (steps * len(files))}


def next_step(module, at, count):
    """At a step that an earlier process has reached, so that nothing need be logged before."""
    live = _live(module, save_dvc_exp=False, resume=True)
    times = []
    for step in range(count):
        for name in NAMES:
            live.log_metric(name, 0.5 + step)
        begun = time.perf_counter()
        live.next_step()
        times.append(time.perf_counter() - begun)
    assert live.step == at + count, f"resumed at {live.step - count}, not at {at}"
    # The first is another: it also writes what a run writes once.
    times = sorted(times[1:])
    return {"seconds": times[len(times) // 2]}


def replace_json(module, count):
    import os

    summary = {"train": {name.partition("/")[2]: 0.5 for name in NAMES}, "step": 0}
    times = []
    for step in range(count):
        begun = time.perf_counter()
        summary["step"] = step
        with open("summary.tmp", "w") as file:
            json.dump(summary, file, indent=4)
        os.replace("summary.tmp", "summary.json")
        times.append(time.perf_counter() - begun)
    times = sorted(times[1:])
    return {"seconds": times[len(times) // 2]}


def whole_run(module, steps, report=None):
    begun = time.perf_counter()
    live = _live(module, save_dvc_exp=False, report=report)
    for step in range(steps):
        for name in NAMES:
            live.log_metric(name, 0.5 + step)
        live.next_step()
    live.end()
    return {"seconds": time.perf_counter() - begun}


def many_metrics(module, metrics, steps):
    import os

    live = _live(module, save_dvc_exp=False)
    names = [f"layer_{number // 50}/weight_{number % 50}" for number in range(metrics)]
    halves = []
    begun = time.perf_counter()
    for step in range(steps):
        for name in names:
            live.log_metric(name, 0.5 + step)
        live.next_step()
        if step + 1 in (steps // 2, steps):
            halves.append(time.perf_counter() - begun)
            begun = time.perf_counter()
    files = len(os.listdir("/dev/fd"))
    live.end()
    return {"seconds": sum(halves), "files": files, "second_half": halves[1] / halves[0]}


def images(module, count):
    from PIL import Image

    live = _live(module, save_dvc_exp=False)
    pictures = _pictures(Image, count)
    begun = time.perf_counter()
    for number, picture in enumerate(pictures):
        live.log_image(f"{number}.png", picture)
    seconds = time.perf_counter() - begun
    live.end()
    return {"seconds": seconds}


def save_images(module, count):
    import os

    from PIL import Image

    os.makedirs("pictures", exist_ok=True)
    pictures = _pictures(Image, count)
    begun = time.perf_counter()
    for number, picture in enumerate(pictures):
        picture.save(f"pictures/{number}.png")
    return {"seconds": time.perf_counter() - begun}


def _pictures(image, count):
    return [image.new("RGB", (50, 50), (n % 256, n % 199, n % 101)) for n in range(count)]


def memory_of_steps(module, short, long):
    live = _live(module, save_dvc_exp=False)
    sizes = {}
    for step in range(long):
        for name in NAMES:
            live.log_metric(name, 0.5 + step)
        live.next_step()
        if step + 1 in (short, long):
            sizes[step + 1] = _resident()
    live.end()
    return {"megabytes": (sizes[long] - sizes[short]) / 1e6}


# -- saving --------------------------------------------------------------------------------


def end(module, **arguments):
    live = _live(module, **arguments)
    live.log_metric("loss", 0.5)
    live.next_step()
    begun = time.perf_counter()
    live.end()
    return {"seconds": time.perf_counter() - begun}


def end_on_signal(module, **arguments):
    """Gets ready, says so, and ends when a line comes in: so that several end together.

    It exits with the last of them: the interpreter's exit takes longer than `end()`, and would be
    in the way of those that still save.
    """
    live = _live(module, **arguments)
    live.log_metric("loss", 0.5)
    live.next_step()
    print("ready", flush=True)
    sys.stdin.readline()
    before = _processor_time()
    live.end()
    now = time.monotonic()
    print(json.dumps({"now": now, "cpu": _processor_time() - before}), flush=True)
    sys.stdin.readline()
    return {}


def _processor_time():
    """Of this process and those that it has started and that have ended."""
    import resource

    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def memory_of_end(module):
    """What the process grows by at its peak, and the largest process that it starts."""
    import resource

    live = _live(module)
    live.log_metric("loss", 0.5)
    live.next_step()
    before = _resident()
    _forget_peak()
    live.end()
    started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {"megabytes": (_peak() - before + started) / 1e6}


def stat_and_parse(module):
    """The least that looking at DVC outputs can cost."""
    import os
    from pathlib import Path

    import yaml

    pointers = [str(path) for path in Path("data").glob("*.dvc")]
    begun = time.perf_counter()
    for pointer in pointers:
        with open(pointer, "rb") as file:
            yaml.load(file, yaml.CSafeLoader)
        os.stat(pointer[:-4])
    return {"seconds": time.perf_counter() - begun}


# -- artifacts -----------------------------------------------------------------------------


def artifact(module, path):
    """With DVC already imported by a tiny artifact before it, as by an earlier epoch's."""
    with open("tiny.bin", "wb") as file:
        file.write(b"tiny")
    live = _live(module, save_dvc_exp=False)
    live.log_artifact("tiny.bin")
    begun = time.perf_counter()
    live.log_artifact(path)
    seconds = time.perf_counter() - begun
    live.end()
    return {"seconds": seconds}


def memory_of_artifact(module, path):
    with open("tiny.bin", "wb") as file:
        file.write(b"tiny")
    live = _live(module, save_dvc_exp=False)
    live.log_artifact("tiny.bin")
    before = _resident()
    _forget_peak()
    live.log_artifact(path)
    megabytes = (_peak() - before) / 1e6
    live.end()
    return {"megabytes": megabytes}


def read_md5_write(module, path, only=None):
    """One pass over each file on one core: read, md5, write."""
    import hashlib
    import os

    os.makedirs("copies", exist_ok=True)
    files = only or _files(path)
    begun = time.perf_counter()
    for number, name in enumerate(files):
        digest = hashlib.md5()
        with open(name, "rb") as source, open(f"copies/{number}", "wb") as target:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                target.write(chunk)
        digest.hexdigest()
    return {"seconds": time.perf_counter() - begun}


def md5(module, path):
    import hashlib

    digest = hashlib.md5()
    begun = time.perf_counter()
    with open(path, "rb") as source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
    return {"seconds": time.perf_counter() - begun}


def stat_each(module, path):
    import os

    names = _files(path)
    begun = time.perf_counter()
    for name in names:
        os.stat(name)
    return {"seconds": time.perf_counter() - begun}


def _files(path):
    import os

    if os.path.isfile(path):
        return [path]
    return [os.path.join(root, name) for root, _, names in os.walk(path) for name in names]


# -- others --------------------------------------------------------------------------------


def whole_run_mlflow(module, steps):
    import mlflow

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    begun = time.perf_counter()
    with mlflow.start_run():
        for step in range(steps):
            mlflow.log_metrics(dict.fromkeys(NAMES, 0.5 + step), step=step)
    return {"seconds": time.perf_counter() - begun}


def whole_run_wandb(module, steps):
    import wandb

    begun = time.perf_counter()
    run = wandb.init(project="bench", mode="offline")
    for step in range(steps):
        run.log(dict.fromkeys(NAMES, 0.5 + step))
    run.finish()
    return {"seconds": time.perf_counter() - begun}


def whole_run_trackio(module, steps):
    import trackio

    begun = time.perf_counter()
    trackio.init(project="bench")
    for step in range(steps):
        trackio.log(dict.fromkeys(NAMES, 0.5 + step))
    trackio.finish()
    return {"seconds": time.perf_counter() - begun}


def whole_run_tensorboard(module, steps):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    begun = time.perf_counter()
    writer = EventFileWriter("tensorboard-logs")
    for step in range(steps):
        for name in NAMES:
            value = Summary.Value(tag=name, simple_value=0.5 + step)
            writer.add_event(
                Event(step=step, wall_time=time.time(), summary=Summary(value=[value]))
            )
    writer.close()
    return {"seconds": time.perf_counter() - begun}


# -- memory of this process ----------------------------------------------------------------


def _status(key):
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    raise AssertionError(key)


def _resident():
    return _status("VmRSS")


def _peak():
    return _status("VmHWM")


def _forget_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


if __name__ == "__main__":
    result = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    print(json.dumps(result), flush=True)
