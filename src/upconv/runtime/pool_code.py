"""The thread pool as the text of an LLVM module: the protocol, and around it what the staged language does not say.

`pool_protocol` is the protocol, in the staged language. Written here as IR are its memory, the clock and the timed wait
(they pass structs of the C library's), the making of a thread with most signals blocked, and what is known of CPUs:
nothing that decides who runs what.

The module exports one symbol, a table of addresses: first ENTRIES, which are called, then IMPORTS, which Python fills
in before the first call. So the object needs no symbol of the process and can be kept on disk like any other kernel.
"""

import signal
import time

from ..codegen import isa, lang, lowering, primitives
from ..codegen.lowering import lower_together
from . import parts, pool_protocol
from .pool_protocol import KERNELS

# The files that say what the kernels are, and how they are written as text.
SOURCES = isa, lang, lowering, primitives, parts, pool_protocol

ENTRIES = ("attend", "call", "abandon", "prepare", "grow", "now")
# What each gives, and what it takes.
IMPORTS = {
    "pthread_create": ("i32", "ptr", "ptr", "ptr", "ptr"),
    "pthread_detach": ("i32", "i64"),
    "pthread_mutex_init": ("i32", "ptr", "ptr"),
    "pthread_mutex_lock": ("i32", "ptr"),
    "pthread_mutex_unlock": ("i32", "ptr"),
    "pthread_cond_init": ("i32", "ptr", "ptr"),
    "pthread_cond_signal": ("i32", "ptr"),
    "pthread_cond_wait": ("i32", "ptr", "ptr"),
    "pthread_cond_timedwait": ("i32", "ptr", "ptr", "ptr"),
    "sigfillset": ("i32", "ptr"),
    "sigdelset": ("i32", "ptr", "i32"),
    "pthread_sigmask": ("i32", "i32", "ptr", "ptr"),
    "clock_gettime": ("i32", "i32", "ptr"),
    "PyEval_SaveThread": ("ptr",),
    "PyEval_RestoreThread": ("void", "ptr"),
    "PyErr_CheckSignals": ("i32",),
    "sched_yield": ("i32",),
    "sched_getcpu": ("i32",),
}
# Linux has it. Where it is missing, threads run where the system wakes them.
OPTIONAL = "sched_getcpu"
WAIT_NS = 100_000_000
# How long all threads stay where they are after one was replaced: on a machine without an idle CPU it may be in vain.
SETTLE_NS = 10_000_000

# A crash inside a kernel should reach the handler that prints Python's traceback; the rest is for Python's own threads.
CRASHES = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")


def text(isa):
    """The module for an instruction set."""
    return system() + lower_together([make(isa) for make in KERNELS], isa)


def _sources():
    """The files' texts, or None where there are none to be read. Read when they are imported: later they may differ."""
    texts = []
    for module in SOURCES:
        loader = module.__spec__.loader
        try:
            texts.append(loader.get_source(module.__name__) if hasattr(loader, "get_source") else None)
        except (ImportError, OSError, SyntaxError, ValueError):
            return None
    return None if None in texts else "".join(texts)


SOURCE = _sources()


def source():
    """All that `text` is made from, which is had in a tenth of the time that it takes to write down the kernels.

    None where the package's files cannot be read: the text itself is the key then.
    """
    return None if SOURCE is None else system() + SOURCE


def system():
    """What is around the kernels."""
    crashes = (f"  call i32 @sigdelset(ptr %all, i32 {int(getattr(signal, name))})" for name in CRASHES)
    body = BODY.replace("  ; unblock crashes", "\n".join(crashes))
    for name, value in {
        "wait": WAIT_NS,
        "settle": SETTLE_NS,
        "getcpu": len(ENTRIES) + list(IMPORTS).index("sched_getcpu"),
        "monotonic": time.CLOCK_MONOTONIC,
        "realtime": time.CLOCK_REALTIME,
        "setmask": int(signal.SIG_SETMASK),
    }.items():
        body = body.replace(f"${name}", str(value))
    return "\n".join([_table(), *map(_import, IMPORTS), body, ""])


def _table():
    entries = [f"ptr @{name}" for name in ENTRIES] + ["ptr null"] * len(IMPORTS)
    return f"@upconv_pool = global [{len(entries)} x ptr] [{', '.join(entries)}], align 64"


def _import(name):
    """A function of the process under its own name, through its place in the table."""
    result, *types = IMPORTS[name]
    given = "" if result == "void" else "%r = "
    place = len(ENTRIES) + list(IMPORTS).index(name)
    parameters = ", ".join(f"{type} %{number}" for number, type in enumerate(types))
    return (
        f"define internal {result} @{name}({parameters}) nounwind {{\n"
        f"  %f = load ptr, ptr getelementptr (ptr, ptr @upconv_pool, i64 {place})\n"
        f"  {given}call {result} %f({parameters})\n"
        f"  ret {result}{' %r' * bool(given)}\n}}"
    )


BODY = """
%timespec = type { i64, i64 }

; Twice what the C libraries of 64-bit systems need at most (64 bytes); each thing that is written on a line of its own.
@mutex    = internal global [128 x i8] zeroinitializer, align 128
@work     = internal global [128 x i8] zeroinitializer, align 128
@done     = internal global [128 x i8] zeroinitializer, align 128
@gate     = internal global i64 0, align 128
@busy     = internal global i64 0, align 128
@sleepers = internal global i64 0, align 128
@waiting  = internal global i64 0, align 128
@current  = internal global ptr null, align 128
@begun    = internal global i64 0, align 128

; The CPU of whoever woke others last, -1 if unknown; and until when nobody is replaced.
@waker    = internal global i64 -1, align 128
@settled  = internal global i64 0

define internal void @make_locks() nounwind {
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @work, ptr null)
  call i32 @pthread_cond_init(ptr @done, ptr null)
  ret void
}

; One worker more; returns 0, or the system's error number. A thread inherits the signals that are blocked, its CPUs and
; its priority. Nobody asks what a worker returns; it ends when another has taken its place.
define i64 @grow() nounwind {
  %thread = alloca i64
  %all = alloca [128 x i8], align 16
  %before = alloca [128 x i8], align 16
  call i32 @sigfillset(ptr %all)
  ; unblock crashes
  call i32 @pthread_sigmask(i32 $setmask, ptr %all, ptr %before)
  %error = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr null)
  call i32 @pthread_sigmask(i32 $setmask, ptr %before, ptr null)
  %fine = icmp eq i32 %error, 0
  br i1 %fine, label %detach, label %end
detach:
  %name = load i64, ptr %thread
  call i32 @pthread_detach(i64 %name)
  br label %end
end:
  %code = zext i32 %error to i64
  ret i64 %code
}

define internal void @note_cpu() nounwind {
  %cpu = call i64 @cpu()
  store atomic i64 %cpu, ptr @waker monotonic, align 8
  ret void
}

; The CPU that this thread runs on, -1 where nobody says.
define internal i64 @cpu() nounwind {
  %known = load ptr, ptr getelementptr (ptr, ptr @upconv_pool, i64 $getcpu)
  %none = icmp eq ptr %known, null
  br i1 %none, label %unknown, label %ask
ask:
  %cpu = call i32 @sched_getcpu()
  %number = sext i32 %cpu to i64
  ret i64 %number
unknown:
  ret i64 -1
}

; If one of them is here, it runs first. Not while nobody is replaced: it would only take turns with this thread.
define internal void @let_woken_run() nounwind {
  %here = load atomic i64, ptr @waker monotonic, align 8
  %known = icmp sge i64 %here, 0
  br i1 %known, label %look, label %end
look:
  %now = call i64 @now()
  %until = load atomic i64, ptr @settled monotonic, align 8
  %may = icmp sgt i64 %now, %until
  br i1 %may, label %yield, label %end
yield:
  call i32 @sched_yield()
  br label %end
end:
  ret void
}

; 1 for a thread that should be replaced, 0 for all others for a while.
define internal i64 @is_beside_waker() nounwind {
  %here = call i64 @cpu()
  %there = load atomic i64, ptr @waker monotonic, align 8
  %known = icmp sge i64 %here, 0
  %same = icmp eq i64 %here, %there
  %beside = and i1 %known, %same
  br i1 %beside, label %look, label %no
look:
  %now = call i64 @now()
  %until = load atomic i64, ptr @settled monotonic, align 8
  %may = icmp sgt i64 %now, %until
  br i1 %may, label %claim, label %no
claim:
  %next = add i64 %now, $settle
  %pair = cmpxchg ptr @settled, i64 %until, i64 %next monotonic monotonic
  %first = extractvalue {i64, i1} %pair, 1
  %answer = zext i1 %first to i64
  ret i64 %answer
no:
  ret i64 0
}

; Nanoseconds of a clock that never jumps.
define internal i64 @now() nounwind {
  %time = alloca %timespec
  call i32 @clock_gettime(i32 $monotonic, ptr %time)
  %s = load i64, ptr %time
  %ns.at = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %ns.at
  %scaled = mul i64 %s, 1000000000
  %sum = add i64 %scaled, %ns
  ret i64 %sum
}

; pthread_cond_timedwait for $wait ns, by the clock that it goes by; if that jumps, a signal is noticed later, no more.
define internal i32 @wait_for_some_time(ptr %condition, ptr %held) nounwind {
  %time = alloca %timespec
  call i32 @clock_gettime(i32 $realtime, ptr %time)
  %ns.at = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %ns.at
  %s = load i64, ptr %time
  %end = add i64 %ns, $wait
  %over = icmp sge i64 %end, 1000000000
  %wrapped = sub i64 %end, 1000000000
  %fixed = select i1 %over, i64 %wrapped, i64 %end
  %carry = zext i1 %over to i64
  %seconds = add i64 %s, %carry
  store i64 %fixed, ptr %ns.at
  store i64 %seconds, ptr %time
  %error = call i32 @pthread_cond_timedwait(ptr %condition, ptr %held, ptr %time)
  ret i32 %error
}
"""
