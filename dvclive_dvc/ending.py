"""How a run ends: sees the end that nobody announced, and says in publishable words how it was.

Whoever ends the process keeps the last word: the exception is shown as it would have been, the
exit code stays, a signal kills by its own disposition. The run is saved just before that.
"""

from __future__ import annotations

import _sitebuiltins
import atexit
import contextlib
import functools
import opcode
import os
import signal
import sys
import sysconfig
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .backend import Outcome, Status
from .notices import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

    Finish = Callable[[Outcome], None]
    ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]

# What schedulers (SLURM, Kubernetes, spot machines) and closed terminals send. SIGINT is not
# among them: Python turns it into a KeyboardInterrupt, which is an exception like any other.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Watch:
    """One run that is looked after until `cancel`."""

    def __init__(self, finish: Finish) -> None:
        # A strong reference on purpose: a run that its owner forgot is saved all the same.
        self._finish: Finish | None = finish
        self.thread = threading.get_ident()

    def cancel(self) -> None:
        """Stops watching; the hooks and handlers go with the last watch."""
        self._finish = None
        _hooks.drop(self)

    def end(self, outcome: Outcome) -> None:
        """Ends the run, unless it has ended."""
        finish, self._finish = self._finish, None
        if finish is None:
            return
        try:
            finish(outcome)
        except Exception as error:  # noqa: BLE001 - whatever ends the process has the last word
            logger.warning(
                "The run could not be ended in order: %s: %s. Run `dvclive-dvc recover`.",
                type(error).__name__,
                error,
            )
            logger.debug("ending failed", exc_info=True)
        finally:
            _hooks.drop(self)


def watch(finish: Finish) -> Watch:
    """Calls `finish` once with how the run ended, should nobody else end it.

    That is: the interpreter exits, by itself or by `sys.exit` or `exit`, or a worker of
    `multiprocessing` does; an exception leaves the program; SIGTERM or SIGHUP arrive; an exception
    ends the thread that called this. Python shows nobody a SystemExit that was raised by other
    means (`raise SystemExit(3)`, a `sys.exit` imported by name before this module was, one that
    another process raised): such a run counts as completed, because `raise SystemExit(main())`
    mostly ends a program that did well. Only in this process, not in a fork of it. A signal is
    taken only where it would have killed: never over the user's own handler, nor where it is
    ignored (as under nohup), and only when called from the main thread. A handler that the user
    puts over ours later has the last word: ours does nothing when it is called by that one, as
    there was nothing to call, so that it has to end the process itself (`signal.signal(n,
    SIG_DFL)`, then `os.kill`), or to raise.
    """
    one = Watch(finish)
    _hooks.add(one)
    return one


class Section:
    """A re-entrant lock around work that a signal shall not cut in two.

    A SIGTERM or SIGHUP that arrives while the main thread is inside waits until it leaves; a
    second one of its kind kills at once.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()
        if threading.get_ident() == _hooks.main:
            _hooks.sections += 1

    def __exit__(self, *_: object) -> None:
        # None are left in a child that was forked inside of one.
        if threading.get_ident() == _hooks.main and _hooks.sections:
            _hooks.sections -= 1
        self._lock.release()
        if _hooks.waiting is not None and threading.get_ident() == _hooks.main:
            _hooks.deliver()


def _nothing() -> None:
    pass


def _at_workers_end(ends: Callable[[], None]) -> Callable[[], object]:
    """Has `ends` called when this worker of `multiprocessing` ends; returns what takes it back.

    A forked worker leaves by `os._exit`, which skips `atexit`, and shows no hook its exception.
    """
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process is None or util is None or process.parent_process() is None:
        return _nothing
    cancel: Callable[[], object] = util.Finalize(None, ends, exitpriority=0).cancel
    return cancel


class _Hooks:
    """The process-wide hooks, there while there is a run to watch."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []
        # A handler may run on top of the very code that changes these.
        self._lock = threading.RLock()
        self._installed = False
        self._excepthook: ExceptHook = sys.excepthook
        self._thread_hook: Callable[[threading.ExceptHookArgs], Any] = threading.excepthook
        # What an interpreter's last uncaught exception was when the first run began.
        self._last: BaseException | None = None
        # Where the program began; the frame tells at the end how it was left.
        self._program: FrameType | None = None
        # The same of a worker of `multiprocessing`.
        self._worker: FrameType | None = None
        # What calls of `sys.exit` would make of the program, those left out that were caught.
        self._exits: dict[int, Outcome] = {}
        self._worker_end: Callable[[], object] = _nothing
        self._signals: list[int] = []
        self.main = threading.main_thread().ident or 0
        self.sections = 0
        self.waiting: int | None = None
        # The signals that were blocked before the fork that goes on, a thread.
        self._forking = threading.local()

    # -- one run more or less ----------------------------------------------------------

    def add(self, one: Watch) -> None:
        with self._lock:
            self._watches.append(one)
            if not self._installed:
                self._installed = True
                self._excepthook, sys.excepthook = sys.excepthook, self.on_exception
                self._thread_hook = threading.excepthook
                threading.excepthook = self.on_thread_exception
                self._last = getattr(sys, "last_value", None)
                atexit.register(self.on_exit)
                self._worker_end = _at_workers_end(self.on_worker_exit)
            self._take_signals()
            self._program = _outermost(_present(self.main))
            self._worker = _workers(_present(self.main))

    def drop(self, one: Watch) -> None:
        with self._lock:
            if one in self._watches:
                self._watches.remove(one)
            if self._watches or not self._installed:
                return
            self._installed = False
            self._program = self._worker = self._last = None
            self._exits.clear()
            # Where somebody hooked in after us, ours stays in their chain and lets all through.
            if sys.excepthook == self.on_exception:
                sys.excepthook = self._excepthook
            if threading.excepthook == self.on_thread_exception:
                threading.excepthook = self._thread_hook
            atexit.unregister(self.on_exit)
            self._worker_end()
            if threading.get_ident() == self.main:
                self._give_signals_back()

    def hold_signals(self) -> None:
        """Before a fork: a signal for the child waits until the child's handlers are right.

        Python forgets in a new child what has arrived, and our handler there would end the
        parent's runs.
        """
        ours = [number for number in _SIGNALS if signal.getsignal(number) == self.on_signal]
        if ours:
            # By itself, for Python may run other handlers, which may raise, as it blocks.
            self._forking.before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            signal.pthread_sigmask(signal.SIG_BLOCK, ours)

    def let_signals_in(self) -> None:
        """After a fork, or where none came of it."""
        before = self._forking.__dict__.pop("before", None)
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def forget(self) -> None:
        """In a forked child: the runs are the parent's."""
        # Another thread may have held the lock; it does not exist here.
        self._lock = threading.RLock()
        self.main = threading.get_ident()
        self.sections = 0
        self.waiting = None
        for one in list(self._watches):
            one.cancel()
        self.let_signals_in()

    # -- the ways a program ends -------------------------------------------------------

    def on_exception(
        self, kind: type[BaseException], exc: BaseException, traceback: TracebackType | None
    ) -> None:
        """`sys.excepthook`: shows the exception first, so that nothing can mask it."""
        try:
            self._excepthook(kind, exc, traceback)
        finally:
            # At a prompt (`python -i`) an exception ends a line, not the program.
            if not (sys.flags.interactive or hasattr(sys, "ps1")):
                self._end_by(exc.with_traceback(traceback))

    def on_thread_exception(self, args: threading.ExceptHookArgs, /) -> None:
        """`threading.excepthook`: ends the runs of the thread; the program goes on."""
        try:
            self._thread_hook(args)
        finally:
            exc = args.exc_value
            # One that ends a thread by `sys.exit` ends it in order.
            if exc is not None and not isinstance(exc, SystemExit):
                for one in reversed(self._watches.copy()):
                    if one.thread == threading.get_ident():
                        one.end(outcome_of(exc))

    def _end_by(self, exc: BaseException) -> None:
        self._end_unless_stopped(outcome_of(exc))
        if isinstance(exc, KeyboardInterrupt):
            # Python forgets that a Ctrl-C ends it when source is executed meanwhile, as many
            # imports do (pythonrun.c, run_eval_code_obj); the exit code tells of it.
            with contextlib.suppress(KeyboardInterrupt):
                exec("raise KeyboardInterrupt")  # noqa: S102 - a constant

    def on_sys_exit(self, exc: SystemExit) -> None:
        """`sys.exit` was called, which is not to say that it ends the program."""
        if self._installed and not self._left():
            outcome = outcome_of(exc)
            self._exits[id(outcome)] = outcome
            exc._dvclive_fate = _Fate(outcome)  # type: ignore[attr-defined]  # noqa: SLF001 - our own mark

    def on_exit_gone(self, outcome: Outcome) -> None:
        """The SystemExit of a `sys.exit` is dropped: caught, or by what it has ended."""
        if id(outcome) in self._exits and not self._left():
            self._exits.pop(id(outcome), None)

    def _left(self) -> bool:
        """Whether this is the main thread and the program has been left."""
        # As in `_present`, its own frame is in no variable: the exception could not go.
        begun = _outermost(sys._getframe())  # noqa: SLF001 - the one way to see who called
        return threading.get_ident() == self.main and begun is not self._program

    def on_exit(self) -> None:
        """`atexit`: the last thread has ended and nobody ended the run."""
        with _threads_allowed():
            self._end_unless_stopped(self._last_outcome())

    def _last_outcome(self) -> Outcome:
        exc = self._unseen()
        if exc is not None:
            return outcome_of(exc)
        if self._worker is not None:
            # From 3.13 on a worker's `atexit` comes, when its exception is gone.
            return _left_with(self._worker.f_locals.get("exitcode"))
        exits = () if _returned(self._program) else tuple(self._exits.values())
        return exits[-1] if exits else Outcome()

    def on_worker_exit(self) -> None:
        """The end of a worker of `multiprocessing`, while what ended it is still on its way."""
        self._end_all(outcome_of(sys.exc_info()[1]))

    def _unseen(self) -> BaseException | None:
        """What ended the program where a hook took the place of ours and does not call it."""
        replaced = sys.excepthook != self.on_exception
        last: BaseException | None = getattr(sys, "last_value", None)
        at_a_prompt = sys.flags.interactive or hasattr(sys, "ps1")
        return last if replaced and not at_a_prompt and last is not self._last else None

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """A signal that would have killed: the run is saved, then it kills."""
        del frame
        if signal.getsignal(number) != self.on_signal:
            # The user's handler, put over ours later, calls what it found; by itself that was
            # the default, which cannot be called.
            return
        signal.signal(number, signal.SIG_DFL)
        self.waiting = number
        if not self.sections:
            self.deliver()

    def deliver(self) -> None:
        """Ends the runs for the signal that waits, and lets it take its course."""
        if self.sections or self.waiting is None:
            return
        number, self.waiting = self.waiting, None
        try:
            self._end_all(Outcome(Status.INTERRUPTED, signal=signal.Signals(number).name))
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _end_unless_stopped(self, outcome: Outcome) -> None:
        try:
            self._end_all(outcome)
        except KeyboardInterrupt:
            # Ctrl-C while it saves: the process ends at once, with the exit code it would have
            # had; the journals bring the runs back.
            logger.warning(
                "Stopped by Ctrl-C before the run had ended in order. Run `dvclive-dvc recover`."
            )
            for one in self._watches.copy():
                one.cancel()

    def _end_all(self, outcome: Outcome) -> None:
        for one in reversed(self._watches.copy()):
            one.end(outcome)

    # -- signals -----------------------------------------------------------------------

    def _take_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self.main = threading.get_ident()
        for number in _SIGNALS:
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, self.on_signal)

    def _give_signals_back(self) -> None:
        for number in _SIGNALS:
            if signal.getsignal(number) == self.on_signal:
                signal.signal(number, signal.SIG_DFL)


_hooks = _Hooks()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_hooks.hold_signals,
        after_in_parent=_hooks.let_signals_in,
        after_in_child=_hooks.forget,
    )


def _noted(leave: Callable[..., Any]) -> Callable[..., Any]:
    # Under the name and module of the one it replaces, so that it is pickled as `sys.exit`.
    @functools.wraps(leave)
    def noted(*args: Any, **named: Any) -> Any:
        try:
            return leave(*args, **named)
        except SystemExit as exc:
            _hooks.on_sys_exit(exc)
            raise

    return noted


# Nothing else in Python knows the exit code while the program still runs. For good, not while
# there is a run: `sys.exit(main())` looks it up before `main` begins one. The `exit` and `quit`
# that the site module puts among the builtins do not call it.
sys.exit = _noted(sys.exit)
_sitebuiltins.Quitter.__call__ = _noted(_sitebuiltins.Quitter.__call__)  # type: ignore[method-assign]


@contextlib.contextmanager
def _threads_allowed() -> Iterator[None]:
    """Lets thread pools work while `atexit` runs.

    By then `threading._shutdown` has closed them: `concurrent.futures` refuses new work and
    cannot even be imported any more, and with it DVC. All threads have ended, so that nothing
    but our own work comes of it. Python 3.12 starts none then for anybody: who uses threads to
    save has to do without.
    """
    pools = sys.modules.get("concurrent.futures.thread")
    shutting_down = getattr(threading, "_SHUTTING_DOWN", None)
    closed = getattr(pools, "_shutdown", None)
    if shutting_down:
        threading._SHUTTING_DOWN = False  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    if closed:
        pools._shutdown = False  # type: ignore[union-attr]  # noqa: SLF001 - see above
    try:
        yield
    finally:
        if shutting_down:
            threading._SHUTTING_DOWN = True  # type: ignore[attr-defined]  # noqa: SLF001 - see above
        if closed:
            pools._shutdown = True  # type: ignore[union-attr]  # noqa: SLF001 - see above


class _Fate:
    """Hangs on a SystemExit and notes when that is gone while the program still runs.

    No hook sees a SystemExit, and one that was caught on its way (by a framework, a command-line
    library) ends nothing. What is caught is mostly dropped at once; what arrives at the top is
    dropped later, or never where a task or a cycle of references has it.
    """

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def __del__(self) -> None:
        _hooks.on_exit_gone(self.outcome)


def _present(thread: int) -> FrameType | None:
    # Whoever keeps it in a variable may hold itself, and with it what all its callers hold.
    return sys._current_frames().get(thread)  # noqa: SLF001 - another thread may be asking


def _outermost(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _workers(frame: FrameType | None) -> FrameType | None:
    """The frame in which `multiprocessing` keeps the exit code of the worker that this is."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return None
    code = process.BaseProcess._bootstrap.__code__  # noqa: SLF001 - nothing else tells
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame


def _returned(frame: FrameType | None) -> bool:
    """Whether a frame has ended in order: the last thing it did was to return.

    An exception that ends it leaves it at another instruction. Compiled programs (Nuitka) have
    frames without any.
    """
    if frame is None:
        return False
    last = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 1]
    # RETURN_VALUE, and RETURN_CONST in 3.12 and 3.13.
    return bool(last) and opcode.opname[last[0]].startswith("RETURN")


# -- in publishable words ------------------------------------------------------------------


def outcome_of(exc: BaseException | None) -> Outcome:
    """How a run ended that `exc` ended; nothing of the exception's message is kept.

    Completed without one and by `sys.exit(0)`; interrupted by Ctrl-C and by whatever else stops
    a program without being an error (GeneratorExit, a cancelled task); failed otherwise.
    """
    if exc is None:
        return Outcome()
    if isinstance(exc, SystemExit):
        return _left_with(exc.code)
    if isinstance(exc, KeyboardInterrupt):
        return Outcome(Status.INTERRUPTED, signal=signal.SIGINT.name)
    kind = type(exc)
    return Outcome(
        Status.FAILED if isinstance(exc, Exception) else Status.INTERRUPTED,
        exception=f"{kind.__module__}.{kind.__qualname__}",
        raised_at=_raised_at(exc.__traceback__),
    )


def _left_with(code: object) -> Outcome:
    code = _exit_code(code)
    return Outcome(Status.FAILED, exit_code=code) if code else Outcome()


def _exit_code(code: object) -> int:
    """The process's exit code for what `sys.exit` was given: text is printed, and 1."""
    if code is None:
        return 0
    if isinstance(code, int):
        if abs(code) > sys.maxsize:
            code = -1  # pythonrun.c, parse_exit_code: what no C long can hold
        return int(code) & 0xFF if os.name == "posix" else int(code)
    return 1


def _raised_at(traceback: TracebackType | None) -> str | None:
    """`path:line` of the innermost frame of the user's own code, else of the innermost one."""
    innermost = chosen = None
    while traceback is not None:
        innermost = traceback
        if _is_users(traceback.tb_frame.f_code.co_filename):
            chosen = traceback
        traceback = traceback.tb_next
    chosen = chosen or innermost
    if chosen is None:
        return None
    return f"{_published(chosen.tb_frame.f_code.co_filename)}:{chosen.tb_lineno}"


def _is_users(filename: str) -> bool:
    if filename.startswith("<"):  # <frozen importlib>, code without a file
        return filename in {"<stdin>", "<string>"}
    path = Path(filename)
    if {"site-packages", "dist-packages"} & set(path.parts):
        return False
    libraries = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib")]
    return not any(path.is_relative_to(one) for one in (str(Path(__file__).parent), *libraries))


def _published(filename: str) -> str:
    """A file's path relative to its repository, else its bare name: no home folder leaves."""
    if filename.startswith("<"):
        return filename
    path = Path(filename)
    if path.is_absolute():
        for folder in path.parents:
            if (folder / ".git").exists():
                return path.relative_to(folder).as_posix()
    return path.name
