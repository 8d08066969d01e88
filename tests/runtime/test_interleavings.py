"""The pool's protocol in every order of its threads' steps, and wrong protocols, all of which must be found out.

`interleavings` says what is modelled and what is checked. A scenario of one worker has hundreds of states, one of two
has some thousands; those of three are for ``pytest --full``.
"""

import pytest
from amount import some
from interleavings import FORKS, RAISES, SLICE_NS, Calls, Scenario, Walk, Wrong

from upconv.codegen.lang import ACQUIRE, I64, PTR, RELEASE, SEQUENTIAL, Builder
from upconv.runtime import pool_protocol as protocol

TWICE = (Calls(2, 1), Calls(2, 1, meets=2))
CUT = (Calls(2, 1, slice=SLICE_NS), Calls(2, 1, meets=2))
SCENARIOS = {
    "one worker, two calls": Scenario((TWICE,), 1),
    "a brief call": Scenario(((Calls(2, 1, wake=0), Calls(2, 1, meets=2)),), 1),
    "more wanted than there are": Scenario(((Calls(3, 2), Calls(2, 2, meets=2)),), 1),
    "an exception between two parts": Scenario((CUT,), 1, (0, RAISES)),
    "a fork in a call": Scenario((CUT,), 1, (0, FORKS)),
    "waits end early": Scenario((CUT[:1],), 1, (0, RAISES), times_out=True, wakes_for_nothing=True),
    "two workers that are needed": Scenario(((Calls(3, 2, meets=3),),), 2),
    "two callers": Scenario(((Calls(1, 1, wake=0),), (Calls(1, 1, wake=0),)), 1),
}
LONGER = {
    "two callers, two parts": Scenario(((Calls(2, 1),), (Calls(2, 1),)), 1),
    "two workers": Scenario(((Calls(2, 2),),), 2),
    "two workers, two calls": Scenario(((Calls(2, 2), Calls(3, 2, meets=3)),), 2),
    "two workers, an exception": Scenario(((Calls(3, 2, slice=SLICE_NS), Calls(3, 2, meets=3)),), 2, (0, RAISES)),
    "three workers that are needed": Scenario(((Calls(4, 3, meets=4),),), 3),
}
ALL = SCENARIOS | LONGER


@pytest.mark.parametrize("name", some(list(SCENARIOS), list(ALL)))
def test_nothing_goes_wrong_in_any_order(name):
    assert Walk(ALL[name]).run() > 100


# Wrong protocols. Each is a list of (name in the module, what stands there instead), the scenario in which it is found
# out, and what is said.


def in_two_steps(self, pointer, old, new, order):
    same = self.equal(self.load_ordered(pointer, ACQUIRE), old)
    with self.when(same):
        self.store_ordered(new, pointer, RELEASE)
    return same


def taken_in_two_steps(self, pointer):
    number = self.load_ordered(pointer, ACQUIRE)
    self.store_ordered(number + 1, pointer, RELEASE)
    return number


def entered_in_two_steps(self, pointer, old, new, order):
    right = Builder.compare_and_swap if isinstance(new, int) else in_two_steps
    return right(self, pointer, old, new, order)


def owned_in_two_steps(self, pointer, old, new, order):
    right = in_two_steps if isinstance(new, int) else Builder.compare_and_swap
    return right(self, pointer, old, new, order)


def with_method(name, wrong):
    return [("Builder", type("Builder", (Builder,), {name: wrong}))]


def nothing(k):
    pass


right = {name: getattr(protocol, name) for name in ("run_parts", "_leave", "prepare")}


def worker(isa):
    """A worker that reads which call it is before it enters."""
    k = Builder("worker")
    with k.repeat():
        with k.when(k.negate(protocol._is_open(protocol._gate(k, ACQUIRE)))):
            protocol._sleep(k)
        call = protocol.Call(k, k.load(k.symbol("current"), PTR))
        with k.when(protocol._enter(k).get() > -1):
            protocol.run_parts(k, call)
            protocol._leave(k)
    return k


def replaced_inside():
    """A worker that ends when it has entered, for another that knows nothing of that."""

    def worker(isa):
        k = Builder("worker")
        with k.repeat() as leave:
            with k.when(k.negate(protocol._is_open(protocol._gate(k, ACQUIRE)))):
                protocol._sleep(k)
            replaced = k.variable(0, I64)
            with k.when(protocol._enter(k).get() > -1):
                protocol._be_replaced(k, replaced)
                with k.when(replaced.get() < 1):
                    protocol.run_parts(k, protocol.Call(k, k.load(k.symbol("current"), PTR)))
                    protocol._leave(k)
            leave(replaced.get() > 0)
        return k

    return worker


def leaves_before_it_runs(k, call, cut=None):
    if cut is None:
        right["_leave"](k)
    return right["run_parts"](k, call, cut)


def waits_for_nobody(k, call):
    protocol._shut(k)
    call.set(protocol.STATE, protocol.OVER)
    k.store_ordered(0, k.symbol("busy"), RELEASE)
    return protocol.DONE


def waits_then_shuts(k, call):
    with k.repeat() as leave:
        leave(k.equal(k.iand(protocol._gate(k, SEQUENTIAL), protocol.INSIDE), 0))
    return waits_for_nobody(k, call)


def is_back_without_looking(k, call):
    protocol._shut(k)
    protocol._wait(k)
    return waits_for_nobody(k, call)


def keeps_the_pool(k, call):
    protocol._shut(k)
    protocol._wait(k)
    return k.select(k.equal(protocol._gate(k, ACQUIRE), 0), protocol.DONE, protocol.CUT)


def opens_then_says_for_what(k, call, wanted):
    k.store_ordered(wanted * protocol.HALF, k.symbol("gate"), SEQUENTIAL)
    k.store(call.address, k.symbol("current"))
    protocol._rouse(k, wanted)


def wakes_then_opens(k, call, wanted):
    k.store(call.address, k.symbol("current"))
    protocol._rouse(k, wanted)
    k.store_ordered(wanted * protocol.HALF, k.symbol("gate"), SEQUENTIAL)


def opens_for_any(gate):
    return gate > 0


def looks_then_counts_itself(k):
    protocol._lock(k)
    with k.repeat() as leave:
        leave(protocol._is_open(protocol._gate(k, SEQUENTIAL)))
        k.fetch_add(k.symbol("sleepers"), 1, SEQUENTIAL)
        k.call_c("pthread_cond_wait", protocol.I32, k.symbol("work"), k.symbol("mutex"))
        k.fetch_add(k.symbol("sleepers"), -1, SEQUENTIAL)
    protocol._unlock(k)


def wakes_without_the_mutex(k, wanted):
    wake = k.imin(k.load_ordered(k.symbol("sleepers"), SEQUENTIAL), wanted)
    for sleeper in range(2):
        with k.when(wake > sleeper):
            protocol._signal(k, "work")


def wakes_one(k, wanted):
    with k.when(k.imin(k.load_ordered(k.symbol("sleepers"), SEQUENTIAL), wanted) > 0):
        protocol._lock(k)
        protocol._unlock(k)
        protocol._signal(k, "work")


def wakes_nobody_when_it_enters(k, wanted):
    if k.name != "worker":
        wakes_one(k, wanted)


def looks_then_says_that_it_waits(k):
    protocol._lock(k)
    with k.repeat() as leave:
        leave(k.equal(protocol._gate(k, SEQUENTIAL), 0))
        k.store_ordered(1, k.symbol("waiting"), SEQUENTIAL)
        over = k.call_c("wait_for_some_time", protocol.I32, k.symbol("done"), k.symbol("mutex"))
        leave(k.negate(k.equal(over, 0)))
    k.store_ordered(0, k.symbol("waiting"), SEQUENTIAL)
    protocol._unlock(k)


def leaves(k, tells):
    before = k.fetch_add(k.symbol("gate"), -1, SEQUENTIAL)
    last = k.equal(k.iand(before, protocol.INSIDE), 1)
    with k.when(last), k.when(k.load_ordered(k.symbol("waiting"), SEQUENTIAL) > 0):
        tells(k)


def tells_without_the_mutex(k):
    leaves(k, lambda k: protocol._signal(k, "done"))


def tells_nobody(k):
    leaves(k, nothing)


def goes_without_waiting(k, call):
    k.store_ordered(call.get(protocol.PARTS), call.next, SEQUENTIAL)


def gives_up_waiting(k, call):
    goes_without_waiting(k, call)
    with k.when(k.equal(call.get(protocol.STATE), protocol.TEAM)):
        protocol._finish(k, call)


def hands_back_nothing(k, call):
    goes_without_waiting(k, call)
    with k.when(k.equal(call.get(protocol.STATE), protocol.TEAM)), k.repeat() as leave:
        leave(k.equal(keeps_the_pool(k, call), protocol.DONE))


def prepares(*names, counts=True):
    """`prepare`, which makes only some of the words new."""

    def prepare(isa):
        k = Builder("prepare")
        k.call_c("make_locks", None)
        for name in names:
            k.store(0, k.symbol(name))
        if counts:
            k.store(k.load(k.symbol("begun"), I64) + 1, k.symbol("begun"))
        return k

    return [("KERNELS", (*protocol.KERNELS[:-1], prepare))]


ONE, CUT_ONCE, FORKED = "one worker, two calls", "an exception between two parts", "a fork in a call"
NEEDED, EARLY = "two workers that are needed", "waits end early"
FOR_EVER, TOO_LATE, SHUT = "waits for ever", "whose caller was back", "the gate was shut"
UNDONE = "back before all|" + TOO_LATE
RUNNING = "part was running|" + TOO_LATE
MUTANTS = {
    "a part is taken in two steps": (with_method("take", taken_in_two_steps), ONE, "ran twice"),
    "the gate is entered in two steps": (with_method("compare_and_swap", entered_in_two_steps), ONE, SHUT),
    "the pool is taken in two steps": (with_method("compare_and_swap", owned_in_two_steps), "two callers", UNDONE),
    "a worker reads which call it is before it enters": (
        [("KERNELS", (*protocol.KERNELS[:3], worker, protocol.prepare))],
        ONE,
        TOO_LATE,
    ),
    "a worker is replaced after it has entered": (
        [("KERNELS", (*protocol.KERNELS[:3], replaced_inside(), protocol.prepare))],
        ONE,
        FOR_EVER,
    ),
    "a worker leaves before it runs its parts": (
        [("run_parts", leaves_before_it_runs), ("_leave", nothing)],
        ONE,
        UNDONE,
    ),
    "the gate is shut after the wait": ([("_finish", waits_then_shuts)], ONE, UNDONE),
    "the gate is never shut": ([("_shut", nothing)], "a brief call", FOR_EVER),
    "the caller waits for nobody": ([("_finish", waits_for_nobody)], ONE, UNDONE),
    "a wait that ended by time is over": ([("_finish", is_back_without_looking)], EARLY, UNDONE),
    "the pool is kept": ([("_finish", keeps_the_pool)], ONE, FOR_EVER),
    "the gate is opened before it is said for what": ([("_invite", opens_then_says_for_what)], ONE, TOO_LATE),
    "sleepers are woken before the gate is opened": ([("_invite", wakes_then_opens)], ONE, FOR_EVER),
    "the gate admits any number while someone is inside": ([("_is_open", opens_for_any)], NEEDED, SHUT),
    "a worker counts itself after its last look": ([("_sleep", looks_then_counts_itself)], ONE, FOR_EVER),
    "sleepers are woken without the mutex": ([("_rouse", wakes_without_the_mutex)], ONE, FOR_EVER),
    "workers wake no others": ([("_rouse", wakes_nobody_when_it_enters)], NEEDED, FOR_EVER),
    "a caller says that it waits after its last look": ([("_wait", looks_then_says_that_it_waits)], ONE, FOR_EVER),
    "the last worker tells without the mutex": ([("_leave", tells_without_the_mutex)], ONE, FOR_EVER),
    "the last worker tells nobody": ([("_leave", tells_nobody)], ONE, FOR_EVER),
    "an abandoned call is not waited for": ([("_abandon", goes_without_waiting)], CUT_ONCE, RUNNING),
    "an abandoned call is waited for once": ([("_abandon", gives_up_waiting)], EARLY, RUNNING),
    "an abandoned call keeps the pool": ([("_abandon", hands_back_nothing)], CUT_ONCE, FOR_EVER),
    "a child does not know that it is one": (
        prepares("gate", "sleepers", "waiting", "busy", counts=False),
        FORKED,
        "back before all|" + FOR_EVER,
    ),
    "a child has its parent's gate": (prepares("sleepers", "waiting", "busy"), FORKED, TOO_LATE),
    "a child's pool is its parent's": (prepares("gate", "sleepers", "waiting"), FORKED, FOR_EVER),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_protocol_is_found_out(name, monkeypatch):
    changes, scenario, message = MUTANTS[name]
    for what, instead in changes:
        monkeypatch.setattr(protocol, what, instead)
    with pytest.raises(Wrong, match=message):
        Walk(ALL[scenario]).run()


def test_one_wake_up_at_a_time_would_be_enough(monkeypatch):
    """What makes the mutant in which workers wake no others wrong is that they do not, not that fewer are woken."""
    monkeypatch.setattr(protocol, "_rouse", wakes_one)
    Walk(ALL[NEEDED]).run()


def test_nothing_else_stands_in_prepare():
    """The mutants of a fork say what is made new; with all of it they are the right one."""
    made = prepares("gate", "sleepers", "waiting", "busy")[0][1][-1]("isa")
    assert [step.name for step in made.body] == [step.name for step in right["prepare"]("isa").body]
