"""The thread pool as the text of an LLVM module: the protocol, and around it what the staged language does not say.

`pool_protocol` is the protocol, in the staged language. Written here as IR are its memory, the clock, the timed wait,
the sets of CPUs (they pass structs of the C library's), and the making of a thread with most signals blocked: nothing
that decides who runs what.

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
    "pthread_getaffinity_np": ("i32", "i64", "i64", "ptr"),
    "pthread_setaffinity_np": ("i32", "i64", "i64", "ptr"),
}
# Linux has these. Where one is missing, threads run where the system puts them.
PLACING = "sched_getcpu", "pthread_getaffinity_np", "pthread_setaffinity_np"
# Beyond so many workers, and for CPUs of higher numbers than a set of the C library has, likewise.
PLACED, CPUS = 1024, 1024
WAIT_NS = 100_000_000

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
        "placed": PLACED,
        "words": CPUS // 64,
        "bytes": CPUS // 8,
        "cpus": CPUS,
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

; The workers' names, and how many; which CPUs they may run on; which of these was taken from them, and the same or, if
; there are workers who do not know, -1.
@workers  = internal global [$placed x i64] zeroinitializer, align 128
@grown    = internal global i64 0
@allowed  = internal global [$words x i64] zeroinitializer, align 128
@taken    = internal global i64 -1
@apart    = internal global i64 -1, align 128

define internal void @make_locks() nounwind {
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @work, ptr null)
  call i32 @pthread_cond_init(ptr @done, ptr null)
  ret void
}

; One worker more; returns 0, or the system's error number. A thread inherits the signals that are blocked. A worker
; never ends, so nobody asks what it returns.
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
  %many = load i64, ptr @grown
  %fits = icmp ult i64 %many, $placed
  br i1 %fits, label %note, label %end
note:
  %at = getelementptr i64, ptr @workers, i64 %many
  store i64 %name, ptr %at
  %more = add i64 %many, 1
  store atomic i64 %more, ptr @grown seq_cst, align 8
  store atomic i64 -1, ptr @apart seq_cst, align 8
  br label %end
end:
  %code = zext i32 %error to i64
  ret i64 %code
}

define internal void @forget_workers() nounwind {
  store i64 0, ptr @grown
  store i64 -1, ptr @taken
  store i64 -1, ptr @apart
  ret void
}

; Have the workers leave this thread's CPU to it, which has the pool. What they may run on is changed only when this
; thread has moved since, or there are new ones.
define internal void @keep_apart() nounwind {
  %known = load ptr, ptr getelementptr (ptr, ptr @upconv_pool, i64 $getcpu)
  %none = icmp eq ptr %known, null
  br i1 %none, label %end, label %look
look:
  %cpu = call i32 @sched_getcpu()
  %here = sext i32 %cpu to i64
  %before = load atomic i64, ptr @apart monotonic, align 8
  %moved = icmp ne i64 %here, %before
  %fits = icmp ult i64 %here, $cpus
  %now = and i1 %moved, %fits
  br i1 %now, label %move, label %end
move:
  call void @leave_to_caller(i64 %here)
  br label %end
end:
  ret void
}

define internal void @leave_to_caller(i64 %here) noinline nounwind {
  %set = alloca [$words x i64], align 64
  %known = alloca [$words x i64], align 64
  store atomic i64 %here, ptr @apart seq_cst, align 8
  %many = load atomic i64, ptr @grown seq_cst, align 8
  call void @llvm.memset.inline.p0.i64(ptr %set, i8 0, i64 $bytes, i1 0)
  %some = icmp ugt i64 %many, 0
  br i1 %some, label %ask, label %end
ask:
  %first = load i64, ptr @workers
  %error = call i32 @pthread_getaffinity_np(i64 %first, i64 $bytes, ptr %set)
  %fine = icmp eq i32 %error, 0
  br i1 %fine, label %compare, label %end
compare:
  ; What somebody else has set is what is allowed from now on.
  %taken = load i64, ptr @taken
  call void @without(ptr %known, ptr @allowed, i64 %taken)
  %ours = call i1 @is_same(ptr %set, ptr %known)
  br i1 %ours, label %take, label %adopt
adopt:
  call void @llvm.memcpy.inline.p0.p0.i64(ptr @allowed, ptr %set, i64 $bytes, i1 0)
  br label %take
take:
  store i64 %here, ptr @taken
  call void @without(ptr %set, ptr @allowed, i64 %here)
  br label %next
next:
  %i = phi i64 [0, %take], [%j, %next]
  %at = getelementptr i64, ptr @workers, i64 %i
  %name = load i64, ptr %at
  call i32 @pthread_setaffinity_np(i64 %name, i64 $bytes, ptr %set)
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %many
  br i1 %more, label %next, label %end
end:
  ret void
}

; A set of CPUs less one; the same set if that leaves none, or if there is no such CPU.
define internal void @without(ptr %to, ptr %from, i64 %cpu) nounwind {
  call void @llvm.memcpy.inline.p0.p0.i64(ptr %to, ptr %from, i64 $bytes, i1 0)
  %exists = icmp ult i64 %cpu, $cpus
  br i1 %exists, label %take, label %end
take:
  %place = lshr i64 %cpu, 6
  %at = getelementptr i64, ptr %to, i64 %place
  %word = load i64, ptr %at
  %bit = and i64 %cpu, 63
  %mask = shl i64 1, %bit
  %rest = xor i64 %mask, -1
  %less = and i64 %word, %rest
  store i64 %less, ptr %at
  %all = load <$words x i64>, ptr %to, align 64
  %any = call i64 @llvm.vector.reduce.or.v$wordsi64(<$words x i64> %all)
  %empty = icmp eq i64 %any, 0
  br i1 %empty, label %back, label %end
back:
  store i64 %word, ptr %at
  br label %end
end:
  ret void
}

define internal i1 @is_same(ptr %a, ptr %b) nounwind {
  %x = load <$words x i64>, ptr %a, align 64
  %y = load <$words x i64>, ptr %b, align 64
  %other = xor <$words x i64> %x, %y
  %any = call i64 @llvm.vector.reduce.or.v$wordsi64(<$words x i64> %other)
  %same = icmp eq i64 %any, 0
  ret i1 %same
}

declare void @llvm.memset.inline.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.inline.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @llvm.vector.reduce.or.v$wordsi64(<$words x i64>)

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
