"""The parent's side: one process an engine, asked one at a time and stopped outside its turns.

A process that is stopped cannot spin on the core that another one is being timed on, so every engine may wait for its
threads in the way that is best for it.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress

CAN_STOP = hasattr(signal, "SIGSTOP")
START_SECONDS = 120.0
ANSWER_SECONDS = 300.0


class EngineError(RuntimeError):
    """An engine that cannot do what it was asked; the message is a sentence for the report."""


class Worker:
    """The process of one engine. It is started when first asked, and started again after it died."""

    def __init__(self, name, threads=1, environment=None, patience=ANSWER_SECONDS):
        self.name, self.threads, self.patience = name, threads, patience
        self.environment = {**os.environ, **thread_settings(threads), **(environment or {})}
        self.process = self.answers = self.log = None

    @property
    def alive(self):
        """Whether it has a process."""
        return self.process is not None

    def ask(self, do, **arguments):
        """Send one command and wait for its answer; the process runs only meanwhile.

        Raises:
            EngineError: when the engine refuses, dies or does not answer in time.
        """
        if self.process is None:
            self._start()
        self._signal("SIGCONT")
        try:
            with suppress(BrokenPipeError):  # it died: the missing answer says so
                self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
                self.process.stdin.flush()
            return self._answer(self.patience)
        finally:
            self._signal("SIGSTOP")

    def _start(self):
        self.log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "upconv.bench.worker", self.name, str(self.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=self.environment,
            text=True,
            # Ctrl-C is for the parent, which then ends its workers.
            start_new_session=CAN_STOP,
        )
        self.answers = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(self.process.stdout, self.answers), daemon=True).start()
        try:
            self._answer(START_SECONDS)
        except EngineError:
            self.close()
            raise

    def _answer(self, patience):
        try:
            line = self.answers.get(timeout=patience)
        except queue.Empty:
            self.close()
            raise EngineError(f"no answer in {patience:g} s") from None
        if line is None:
            raise EngineError(self._obituary())
        answer = json.loads(line)
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer["ok"]

    def _obituary(self):
        process, log = self.process, self.log
        status = process.wait()
        log.seek(0)
        words = log.read().strip().splitlines()
        self.close()
        cause = signal.Signals(-status).name if status < 0 else f"status {status}"
        return f"the process ended with {cause}" + (f": {words[-1]}" if words else "")

    def _signal(self, name):
        if not CAN_STOP or self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(getattr(signal, name))
        if name == "SIGSTOP" and hasattr(os, "waitid"):
            # The next one's turn begins when this one has come to rest, not when it was told to.
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def close(self):
        """End the process at once; asking again starts another."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            with suppress(OSError):  # what was still to be written to a dead process
                process.stdin.close()
            self.log.close()


class Crew:
    """The workers of a run, by name; as a context it leaves no process behind, however it ends."""

    def __init__(self, names, threads=1, environments=None, patience=ANSWER_SECONDS):
        environments = environments or {}
        self.workers = {name: Worker(name, threads, environments.get(name), patience) for name in names}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.workers.values():
            worker.close()

    def __getitem__(self, name):
        return self.workers[name]


def thread_settings(threads):
    """The environment that tells every engine its number of threads."""
    number = str(threads)
    settings = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "UPCONV_NUM_THREADS", "NPROC"), number
    )
    if threads == 1:
        settings["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
    if not CAN_STOP:
        settings |= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    return settings


def _listen(stream, answers):
    """Put the lines of a process into a queue, then None."""
    with suppress(ValueError, OSError), stream:
        for line in stream:
            answers.put(line)
    answers.put(None)
