from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from situations import python

from dvclive_dvc import ending
from dvclive_dvc.backend import Outcome, Status

if os.name != "posix":
    pytest.skip("signals are POSIX's", allow_module_level=True)

# Writes each outcome it is told as one line of JSON; what follows is the script of a user.
PRELUDE = """
import atexit, json, os, signal, subprocess, sys, threading, time
from dvclive_dvc import ending

def finish(outcome):
    with open("ends", "a") as file:
        file.write(json.dumps({**vars(outcome), "status": outcome.status.value}) + "\\n")
"""

COMPLETED = {"status": "completed"}
WATCHED = "watch = ending.watch(finish)\n"


def ends() -> list[dict]:
    """What `finish` was told, defaults left out."""
    path = Path("ends")
    lines = path.read_text().splitlines() if path.exists() else []
    return [{k: v for k, v in json.loads(line).items() if v is not None} for line in lines]


def ended(source: str, **more) -> subprocess.CompletedProcess[str]:
    return python(PRELUDE + source, check=False, **more)


# -- how a program may end -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "exit_code", "outcome"),
    [
        ("", 0, {"status": "completed"}),
        ("sys.exit()", 0, {"status": "completed"}),
        ("sys.exit(0)", 0, {"status": "completed"}),
        ("sys.exit(3)", 3, {"status": "failed", "exit_code": 3}),
        ("sys.exit(-1)", 255, {"status": "failed", "exit_code": 255}),
        ("sys.exit('the reason')", 1, {"status": "failed", "exit_code": 1}),
        ("exit()", 0, {"status": "completed"}),
        ("exit(6)", 6, {"status": "failed", "exit_code": 6}),
        ("quit(code='the reason')", 1, {"status": "failed", "exit_code": 1}),
        (
            "1 / 0",
            1,
            {
                "status": "failed",
                "exception": "builtins.ZeroDivisionError",
                "raised_at": f"<string>:{(PRELUDE + WATCHED).count(chr(10)) + 1}",
            },
        ),
        ("raise KeyboardInterrupt", -2, {"status": "interrupted", "signal": "SIGINT"}),
        ("os.kill(os.getpid(), 2)", -2, {"status": "interrupted", "signal": "SIGINT"}),
        ("os.kill(os.getpid(), 15)", -15, {"status": "interrupted", "signal": "SIGTERM"}),
        ("os.kill(os.getpid(), 1)", -1, {"status": "interrupted", "signal": "SIGHUP"}),
    ],
)
def test_a_run_nobody_ended_is_ended_with_the_process_and_its_exit_code_stays(
    source, exit_code, outcome
):
    done = ended(WATCHED + source)
    assert done.returncode == exit_code, done.stderr
    assert ends() == [outcome]


def test_an_uncaught_exception_is_shown_as_ever_and_before_the_run_is_saved():
    done = ended("""
ending.watch(lambda outcome: print("saved", file=sys.stderr))
raise ValueError("the reason")
""")
    assert "ValueError: the reason" in done.stderr
    assert done.stderr.index("ValueError") < done.stderr.index("saved")


def test_a_hook_for_exceptions_that_the_user_has_is_called():
    done = ended("""
sys.excepthook = lambda kind, exc, traceback: print("mine:", exc)
ending.watch(finish)
raise ValueError("the reason")
""")
    assert done.stdout == "mine: the reason\n"
    assert ends()[0]["exception"] == "builtins.ValueError"


def test_a_failure_of_saving_masks_neither_the_exception_nor_the_exit_code():
    done = ended("""
def broken(outcome): raise RuntimeError("saving broke")
ending.watch(broken)
raise ValueError("the reason")
""")
    assert done.returncode == 1
    assert "ValueError: the reason" in done.stderr
    assert "RuntimeError: saving broke" in done.stderr, "the user is told"
    assert done.stderr.count("Traceback") == 1, "only the user's own"


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    sys.exit(4)\nexcept SystemExit:\n    pass\n",
        "def tool():\n    try:\n        sys.exit(4)\n    except SystemExit:\n        pass\ntool()",
        "def tool():\n    try:\n        sys.exit(4)\n    finally:\n        return\ntool()",
    ],
)
def test_a_sys_exit_that_the_program_caught_ended_nothing(source):
    assert ended("ending.watch(finish)\n" + source).returncode == 0
    assert ends() == [{"status": "completed"}]


def test_a_sys_exit_through_finally_and_with_blocks_is_told_by_its_code():
    ended("""
ending.watch(finish)
def main():
    with open(os.devnull):
        try:
            sys.exit(5)
        finally:
            time.sleep(0)
main()
""")
    assert ends() == [{"status": "failed", "exit_code": 5}]


@pytest.mark.parametrize(
    ("source", "exit_code"),
    [
        ("try: sys.exit(4)\nexcept SystemExit: sys.exit(7)", 7),
        ("try: sys.exit(4)\nexcept SystemExit: sys.exit(0)", 0),
        ("try: sys.exit(4)\nexcept SystemExit as exc:\n    kept = exc\n    raise", 4),
        (
            """
def main():
    try: sys.exit(4)
    except SystemExit as exc:
        kept = exc
        raise
main()
""",
            4,
        ),
        (
            """
import asyncio
async def main():
    await asyncio.sleep(0)
    sys.exit(4)
asyncio.run(main())
""",
            4,
        ),
        (
            """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    pool.submit(sys.exit, 4).result()
""",
            4,
        ),
        ("import runpy\nrunpy.run_path('exits.py')", 4),
    ],
)
def test_of_several_sys_exits_and_one_that_is_held_the_code_that_ends_it_is_told(source, exit_code):
    Path("exits.py").write_text("import sys\nsys.exit(4)\n")
    done = ended("watch = ending.watch(finish)\n" + source)
    assert done.returncode == exit_code, done.stderr
    expected = {"status": "failed", "exit_code": exit_code} if exit_code else COMPLETED
    assert ends() == [expected], "told otherwise than the process ended"


@pytest.mark.parametrize(
    "source",
    [
        "try: sys.exit(4)\nexcept SystemExit as exc: kept = exc\n",
        "try: sys.exit(4)\nexcept SystemExit as exc: kept = exc\nif kept: time.sleep(0)",
        "atexit.register(sys.exit, 4)",
        "def tool():\n    try: sys.exit(4)\n    except SystemExit: pass\ntool()\nexit(0)",
        "try: sys.exit(4)\nexcept SystemExit: pass\nraise SystemExit(0)",
    ],
)
def test_a_sys_exit_that_ended_nothing_is_not_told_though_it_is_held_or_late(source):
    done = ended("watch = ending.watch(finish)\n" + source)
    assert done.returncode == 0, done.stderr
    assert ends() == [COMPLETED], "a sys.exit that ended nothing was taken for the end"


def test_watching_keeps_nothing_alive_of_those_who_called():
    done = ended("""
import gc, weakref
gc.disable()
class Model: pass
def train():
    model = Model()
    ending.watch(finish)
    try: sys.exit(4)
    except SystemExit: pass
    return weakref.ref(model)
print(train()())
""")
    assert done.stdout == "None\n", "what the caller had stays in memory"


def test_exit_says_how_to_leave_as_ever():
    assert ended("print(exit)").stdout.startswith("Use exit() or "), "what `exit` shows changed"


def test_a_sys_exit_works_after_this_module_was_loaded_again():
    done = ended("""
import importlib
importlib.reload(ending)
ending.watch(finish)
sys.exit(4)
""")
    assert done.returncode == 4, done.stderr
    assert ends() == [{"status": "failed", "exit_code": 4}]


def test_a_sys_exit_is_told_though_the_run_began_in_another_thread():
    ended("""
thread = threading.Thread(target=ending.watch, args=(finish,))
thread.start(); thread.join()
sys.exit(4)
""")
    assert ends() == [{"status": "failed", "exit_code": 4}]


def test_a_sys_exit_with_what_main_returns_is_told_though_the_run_began_in_main():
    done = ended("""
def main():
    ending.watch(finish)
    return 3
sys.exit(main())
""")
    assert done.returncode == 3
    assert ends() == [{"status": "failed", "exit_code": 3}], "the exit code was not seen"


def test_sys_exit_is_pickled_as_what_it_is_called():
    done = ended("""
import inspect, pickle
ending.watch(finish)
pickled = pickle.dumps(sys.exit)
assert pickle.loads(pickled) is sys.exit
assert b"dvclive" not in pickled, "another process would need this package to read it"
assert str(inspect.signature(sys.exit)) == "(status=None, /)"
""")
    assert done.returncode == 0, done.stderr
    assert ends() == [{"status": "completed"}]


def test_a_sys_exit_of_another_thread_ends_nothing():
    ended("""
ending.watch(finish)
thread = threading.Thread(target=sys.exit, args=(6,))
thread.start(); thread.join()
""")
    assert ends() == [{"status": "completed"}]


def test_the_last_thread_ends_before_the_run_does():
    done = ended("""
ending.watch(lambda outcome: print("saved"))
threading.Thread(target=lambda: (time.sleep(0.3), print("logged"))).start()
""")
    assert done.stdout.split() == ["logged", "saved"]


threads_at_exit = pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="Python 3.12 starts no thread then"
)


@threads_at_exit
def test_saving_at_exit_may_use_threads_and_import_what_uses_them():
    done = ended("""
def finish(outcome):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as pool:
        print(list(pool.map(len, ["a", "bb"])))
ending.watch(finish)
""")
    assert done.stdout.strip() == "[1, 2]", done.stderr


@threads_at_exit
def test_saving_at_exit_may_use_threads_that_were_in_use_before():
    done = ended("""
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    pool.submit(len, "a").result()
def finish(outcome):
    with ThreadPoolExecutor(2) as pool:
        print(list(pool.map(len, ["a", "bb"])))
ending.watch(finish)
""")
    assert done.stdout.strip() == "[1, 2]", done.stderr


def test_a_run_that_was_forgotten_is_ended_all_the_same():
    ended("""
import gc
class Run:
    def finish(self, outcome): finish(outcome)
ending.watch(Run().finish)
gc.collect()
""")
    assert ends() == [{"status": "completed"}]


def test_every_run_of_the_process_is_ended_though_one_breaks():
    ended("""
def broken(outcome): raise RuntimeError
ending.watch(finish); ending.watch(broken); ending.watch(finish)
os.kill(os.getpid(), 15)
""")
    assert len(ends()) == 2


def test_a_run_ends_once_though_the_process_ends_in_several_ways():
    ended("""
ending.watch(finish)
atexit.register(lambda: os.kill(os.getpid(), 15))
raise ValueError
""")
    assert [end["status"] for end in ends()] == ["failed"]


def test_ctrl_c_keeps_its_exit_code_though_saving_executes_source():
    done = ended("""
import collections
ending.watch(lambda outcome: (finish(outcome), collections.namedtuple("a", "b")))
os.kill(os.getpid(), 2)
""")
    assert done.returncode == -signal.SIGINT
    assert ends() == [{"status": "interrupted", "signal": "SIGINT"}]


def test_a_mistake_at_the_prompt_ends_no_run():
    done = subprocess.run(
        [sys.executable, "-i", "-q", "-c", PRELUDE + WATCHED],
        input="1 / 0\nprint('goes on', os.path.exists('ends'))\n",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "goes on False\n", done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert ends() == [{"status": "completed"}]


# -- signals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_a_handler_of_the_users_own_stays_the_only_one(number):
    done = ended(f"""
signal.signal(signal.{number}, lambda *_: print("mine"))
handler = signal.getsignal(signal.{number})
watch = ending.watch(finish)
assert signal.getsignal(signal.{number}) is handler
os.kill(os.getpid(), signal.{number})
print("went on", os.path.exists("ends"))
""")
    assert done.stdout == "mine\nwent on False\n", done.stderr


def test_a_handler_the_user_puts_over_ours_may_call_what_it_found():
    done = ended("""
ending.watch(finish)
before = signal.getsignal(signal.SIGTERM)
def mine(number, frame):
    before(number, frame)
    sys.exit(9)
signal.signal(signal.SIGTERM, mine)
os.kill(os.getpid(), signal.SIGTERM)
""")
    assert done.returncode == 9
    assert ends() == [{"status": "failed", "exit_code": 9}]


def test_a_signal_that_is_ignored_stays_ignored():
    done = ended("""
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
ending.watch(finish)
os.kill(os.getpid(), signal.SIGHUP)
print("went on", os.path.exists("ends"))
""")
    assert done.stdout == "went on False\n", done.stderr


def test_a_run_outside_the_main_thread_takes_no_signal():
    done = ended("""
thread = threading.Thread(target=lambda: ending.watch(finish))
thread.start(); thread.join()
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
""")
    assert done.returncode == 0, done.stderr
    assert ends() == [{"status": "completed"}]


def test_cancelling_leaves_the_process_as_it_was():
    done = ended("""
def hooks():
    return (sys.excepthook, sys.exit, signal.getsignal(signal.SIGTERM),
            signal.getsignal(signal.SIGHUP))
before = hooks()
one, two = ending.watch(finish), ending.watch(finish)
one.cancel()
assert hooks() != before, "the other run is still watched"
two.cancel()
two.cancel()
assert hooks() == before, hooks()
""")
    assert done.returncode == 0, done.stderr
    assert ends() == []


def test_a_signal_waits_until_a_section_is_left():
    done = ended("""
ending.watch(finish)
section = ending.Section()
with section:
    with section:
        os.kill(os.getpid(), signal.SIGTERM)
        print("whole", flush=True)
    print("really", flush=True)
print("never")
""")
    assert done.returncode == -signal.SIGTERM
    assert done.stdout == "whole\nreally\n"
    assert ends() == [{"status": "interrupted", "signal": "SIGTERM"}]


def test_a_second_signal_does_not_wait():
    done = ended("""
ending.watch(finish)
with ending.Section():
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    print("never")
""")
    assert done.returncode == -signal.SIGTERM
    assert "never" not in done.stdout
    assert ends() == []


def test_a_signal_waits_for_a_section_of_another_thread():
    done = ended("""
section = ending.Section()
def finish_inside(outcome):
    with section:
        print("saved", flush=True)
ending.watch(finish_inside)
inside = threading.Event()
def log():
    with section:
        inside.set()
        time.sleep(0.3)
        print("logged", flush=True)
threading.Thread(target=log).start()
inside.wait()
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(10)
""")
    assert done.stdout.split() == ["logged", "saved"]
    assert done.returncode == -signal.SIGTERM


def test_a_second_ctrl_c_during_saving_stops_at_once():
    source = """
def slow(outcome):
    print("saving", flush=True)
    time.sleep(30)
ending.watch(slow)
print("training", flush=True)
time.sleep(30)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + source], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        for said in ("training\n", "saving\n"):
            assert process.stdout.readline() == said
            process.send_signal(signal.SIGINT)
        began = time.monotonic()
        process.wait(10)
    assert time.monotonic() - began < 5
    assert process.returncode == -signal.SIGINT


def test_a_ctrl_c_while_a_finished_program_is_saved_stops_at_once_and_says_what_to_do():
    done = ended("""
def slow(outcome):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
ending.watch(slow)
""")
    assert done.returncode == 0, "as Python has it after a Ctrl-C in a hook of atexit"
    assert "Run `dvclive-dvc recover`." in done.stderr, "the user is not told"
    assert "Traceback" not in done.stderr, "frames of ours"


# -- forks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["sys.exit(0)", "sys.exit(3)", "1 / 0", "os.kill(os.getpid(), 15)"])
def test_a_forked_child_ends_as_if_nobody_watched(end):
    done = ended(f"""
ending.watch(finish)
pid = os.fork()
if pid == 0:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    {end}
_, status = os.waitpid(pid, 0)
assert not os.path.exists("ends"), "the child ended its parent's run"
print(os.waitstatus_to_exitcode(status))
""")
    assert done.returncode == 0, done.stderr
    codes = {"sys.exit(0)": 0, "sys.exit(3)": 3, "1 / 0": 1}
    assert int(done.stdout) == codes.get(end, -15)
    assert ends() == [{"status": "completed"}]


def test_a_signal_kills_a_child_that_was_forked_inside_a_section():
    done = ended("""
with ending.Section():
    pid = os.fork()
if pid == 0:
    ending.watch(finish)
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(7)
print(os.waitpid(pid, 0)[1])
""")
    assert done.stdout == f"{signal.SIGTERM.value}\n", "the child did not die of it"
    assert ends() == [{"status": "interrupted", "signal": "SIGTERM"}]


def test_a_forked_child_may_watch_a_run_of_its_own():
    ended("""
ending.watch(lambda outcome: None)
if os.fork() == 0:
    ending.watch(finish)
    os.kill(os.getpid(), 15)
os.wait()
""")
    assert ends() == [{"status": "interrupted", "signal": "SIGTERM"}]


@pytest.mark.parametrize("forks_in", ["the main thread", "another thread"])
def test_a_signal_that_a_child_gets_as_it_is_forked_kills_it(forks_in):
    done = ended(f"""
ending.watch(finish)
def fork_and_terminate():
    for _ in range(100):
        pid = os.fork()
        if pid == 0:
            time.sleep(20)
            os._exit(0)
        os.kill(pid, signal.SIGTERM)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == -signal.SIGTERM, f"the child ended with {{status}}"
        assert not os.path.exists("ends"), "the child ended its parent's run"
    print("all died")
if {forks_in == "another thread"}:
    thread = threading.Thread(target=fork_and_terminate)
    thread.start(); thread.join()
else:
    fork_and_terminate()
assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set(), "a signal is left blocked"
""", timeout=60)  # fmt: skip
    assert done.stdout == "all died\n", done.stderr
    assert ends() == [{"status": "completed"}], "the parent's run"


def test_a_signal_that_a_parent_gets_as_it_forks_ends_its_run():
    done = ended("""
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))  # runs after ours
ending.watch(finish)
if os.fork() == 0:
    time.sleep(0.1)
    os._exit(0)
print("never")
""")
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert done.stdout == "", "the signal was lost"
    assert ends() == [{"status": "interrupted", "signal": "SIGTERM"}]


def test_a_pool_of_processes_can_be_terminated():
    done = ended("""
import multiprocessing
ending.watch(finish)
pool = multiprocessing.get_context("fork").Pool(2)
pool.map_async(time.sleep, [30, 30])
time.sleep(0.2)
pool.terminate()
pool.join()
print("terminated", os.path.exists("ends"))
""", timeout=20)  # fmt: skip
    assert done.stdout == "terminated False\n", done.stderr


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize(
    ("end", "exit_code", "outcome"),
    [
        ("pass", 0, {"status": "completed"}),
        ("sys.exit(3)", 3, {"status": "failed", "exit_code": 3}),
        (
            "raise ValueError",
            1,
            # Python 3.13 tells its end when the exception is gone.
            {"status": "failed", "exit_code": 1}
            if sys.version_info >= (3, 13)
            else {
                "status": "failed",
                "exception": "builtins.ValueError",
                "raised_at": f"train.py:{PRELUDE.count(chr(10)) + 5}",
            },
        ),
    ],
)
def test_a_run_of_a_worker_is_ended_with_the_worker(method, end, exit_code, outcome):
    Path("train.py").write_text(
        PRELUDE
        + f"""
import multiprocessing
def work():
    ending.watch(finish)
    {end}
if __name__ == "__main__":
    worker = multiprocessing.get_context("{method}").Process(target=work)
    worker.start(); worker.join()
    sys.exit(worker.exitcode)
"""
    )
    done = subprocess.run(
        [sys.executable, "train.py"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == exit_code, done.stderr
    assert ends() == [outcome], "how the worker's run ended"


def test_a_run_that_a_worker_has_ended_is_not_ended_again_with_the_worker():
    ended("""
import multiprocessing
def work():
    ending.watch(finish).end(ending.Outcome())
    ending.watch(finish).cancel()
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start(); worker.join()
""")
    assert ends() == [{"status": "completed"}]


# -- in publishable words --------------------------------------------------------------------


def caught(raise_it) -> BaseException:
    try:
        raise_it()
    except BaseException as error:  # noqa: BLE001 - any ending is looked at
        return error
    raise AssertionError("nothing was raised")


class SomeError(Exception):
    pass


def test_an_exception_is_told_by_its_type_and_place_never_by_its_words():
    def train():
        raise SomeError("password=hunter2")

    outcome = ending.outcome_of(caught(train))
    line = train.__code__.co_firstlineno + 1
    assert outcome == Outcome(
        Status.FAILED,
        exception=f"{__name__}.SomeError",
        raised_at=f"tests/test_ending.py:{line}",
    )
    assert "hunter2" not in repr(outcome)


def test_the_place_is_in_the_users_code_not_in_a_librarys():
    def train():
        json.loads("{")

    raised_at = ending.outcome_of(caught(train)).raised_at
    assert raised_at == f"tests/test_ending.py:{train.__code__.co_firstlineno + 1}"


def test_the_place_is_in_the_users_code_not_in_this_packages():
    def train():
        ending.outcome_of(None).missing  # noqa: B018 - raises
        raise AssertionError

    def log():
        from dvclive_dvc.logs.metrics import to_scalar

        to_scalar("m", object())

    raised_at = ending.outcome_of(caught(log)).raised_at
    assert raised_at is not None
    assert raised_at.startswith("tests/test_ending.py:")


def test_a_file_outside_any_repository_is_told_by_its_bare_name(tmp_path):
    script = tmp_path / "secret-folder" / "train.py"
    script.parent.mkdir()
    script.write_text("def train():\n    raise ValueError\n")
    scope: dict = {}
    exec(compile(script.read_text(), str(script), "exec"), scope)
    assert ending.outcome_of(caught(scope["train"])).raised_at == "train.py:2"


@pytest.mark.parametrize(
    ("exc", "status", "signal_name"),
    [
        (None, Status.COMPLETED, None),
        (SystemExit(), Status.COMPLETED, None),
        (SystemExit(0), Status.COMPLETED, None),
        (SystemExit(2), Status.FAILED, None),
        (SystemExit("text"), Status.FAILED, None),
        (KeyboardInterrupt(), Status.INTERRUPTED, "SIGINT"),
        (GeneratorExit(), Status.INTERRUPTED, None),
        (asyncio.CancelledError(), Status.INTERRUPTED, None),
        (MemoryError(), Status.FAILED, None),
    ],
)
def test_what_is_no_error_is_no_failure(exc, status, signal_name):
    outcome = ending.outcome_of(exc)
    assert outcome.status is status
    assert outcome.signal == signal_name


def test_an_exception_without_a_traceback_has_no_place():
    assert ending.outcome_of(ValueError()).raised_at is None
