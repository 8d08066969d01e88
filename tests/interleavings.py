"""Every order in which a few threads can go through the pool's protocol: a model that is the code itself.

The interpreter of the staged language leads threads through the kernels of `upconv.runtime.pool_protocol`, each from
one step that others can see to the next. All such steps of all threads are taken in every order; states that were seen
before are not gone on from, so the walk ends. What is modelled:

- Memory is sequentially consistent: every step is seen by all at once. Weaker orders are not tried.
- What others see are the words that all share, a call's counter of parts, and whatever locks, signals or sleeps. Of the
  rest of a call's descriptor, what workers read was written before the gate is opened and stays.
- Mutexes and condition variables do what POSIX says; a signal may wake anyone who sleeps. A scenario says whether
  sleepers may wake for nothing and whether timed waits may end by time.
- A worker that was woken may be replaced by a new one; to make that one always succeeds.
- A clock's reading is early or late, each at any time. A wait counts from an early one, so it may end at once or never.
- Signals that Python looks at do nothing, raise, or fork, as a scenario says. A child runs `prepare` and makes workers.
- Parts take any time; those of a call that `meets` do not end before so many have begun.

Checked are: no part runs twice; when a call is done, each has run; when its caller is back, no thread has anything of
the call in hand, and none touches it later; nobody enters a gate that was shut; and from every state there is a way to
the end of all calls, that is, no wake-up is lost and nobody waits for ever.
"""

from dataclasses import dataclass

import pytest

from upconv.codegen.interpreter import Jump, Thread, flat
from upconv.codegen.isa import ROWS
from upconv.codegen.lang import PTR, Value
from upconv.runtime import parts as descriptor
from upconv.runtime import pool_protocol as protocol

ISA = ROWS["x86-64"]
FOREVER, SLICE_NS, LATE = 1 << 62, 10**8, 1 << 40
WORDS = ("gate", "current", "busy", "sleepers", "waiting", "begun")
CHANGING = (descriptor.STATE, descriptor.OUTCOME, descriptor.NEXT)
# Addresses: the words, the locks, then for each call its descriptor, and what stands for its function and its rows.
SYMBOLS = {name: 1024 + 8 * place for place, name in enumerate((*WORDS, "mutex", "work", "done"))}
PLACES = {SYMBOLS[name]: place for place, name in enumerate(WORDS)}
CALLS, CALL_BYTES, FN, ROWS_AT, STEP = 4096, 4096, 1024, 2048, 64
RAISES, FORKS = -1, "forks"
TIMED_OUT = 110
GONE = "gone", None
SHARED = {
    "load": 0,
    "store": 1,
    "load_ordered": 0,
    "store_ordered": 1,
    "fetch_add": 0,
    "fetch_and": 0,
    "compare_and_swap": 0,
}
WAITS = "pthread_cond_wait", "wait_for_some_time"
# When a thread runs, and where, is nothing that others see.
UNSEEN = "sched_yield", "note_cpu", "let_woken_run"


class Wrong(AssertionError):
    """What the protocol must never do."""


@dataclass(frozen=True)
class Calls:
    """One call of a caller's: as `parts` describes it, and how many parts wait for one another."""

    parts: int
    wanted: int
    wake: int = 1
    slice: int = FOREVER
    meets: int = 0


@dataclass(frozen=True)
class Scenario:
    """The calls of each caller, one after another; the workers; what the system may do."""

    callers: tuple
    workers: int
    signals: tuple = (0,)
    times_out: bool = False
    wakes_for_nothing: bool = False


@dataclass(frozen=True)
class At:
    """An address; what stands there is in the state that is being gone on from."""

    address: int

    def offset(self, size):
        return At(self.address + size)

    def read(self, type):
        value = _now.read(self.address)
        return At(value) if type == PTR else value

    def write(self, value):
        _now.write(self.address, value.address if isinstance(value, At) else int(value))


class Code:
    """A kernel as flat code, with the values that still matter at each of its places."""

    def __init__(self, make):
        with pytest.MonkeyPatch.context() as patch:
            # Where a kernel calls another, that one's steps are its own.
            bodies = {"call": protocol._go_on, "abandon": protocol._abandon}
            patch.setattr(protocol, "_run", lambda k, kernel, call: bodies[kernel](k, call))
            self.kernel = make(ISA)
        self.steps = flat(self.kernel)
        self.live = _live(self.steps)
        # Readings of the clock that something is added to: what a wait is counted from.
        added = {id(o) for s in self.steps if not isinstance(s, Jump) and s.name == "iadd" for o in s.operands}
        self.names = {name: At(place) for name, place in SYMBOLS.items()}
        self.starts = {p for p, s in enumerate(self.steps) if not isinstance(s, Jump) and id(s.result) in added}

    def begin(self, job):
        return Thread(self.steps, {self.kernel.argument.number: job}, self.names)


def _live(steps):
    """For each place, the (is a variable, number) that are read from there on before they are set."""
    live = [frozenset()] * (len(steps) + 1)
    while True:
        before = list(live)
        for place in reversed(range(len(steps))):
            live[place] = _live_before(steps[place], place, live)
        if before == live:
            return [tuple(sorted(names)) for names in live]


def _live_before(step, place, live):
    if isinstance(step, Jump):
        after = live[step.place] if step.condition is None else live[step.place] | live[place + 1]
        return after | ({(False, step.condition.number)} if step.condition is not None else set())
    made = {(True, step.attributes["variable"])} if step.name == "set" else set()
    used = {(True, step.attributes["variable"])} if step.name == "get" else set()
    made |= {(False, step.result.number)} if step.result is not None else set()
    used |= {(False, operand.number) for operand in step.operands if isinstance(operand, Value)}
    return (live[place + 1] - made) | used


class State:
    """All there is at a moment; `frozen` is the same as a value."""

    def __init__(self, walk, frozen):
        self.walk = walk
        words, owner, shut, calls, threads = frozen
        self.words, self.owner, self.shut = list(words), owner, shut
        # Of each call: whether it is its caller's turn, what changes in its descriptor, and its parts.
        self.calls = [
            [alive, dict(zip(CHANGING, changing, strict=True)), list(parts)] for alive, changing, parts in calls
        ]
        self.threads = [list(thread) for thread in threads]

    def frozen(self):
        calls = tuple((alive, tuple(changing.values()), tuple(parts)) for alive, changing, parts in self.calls)
        return tuple(self.words), self.owner, self.shut, calls, tuple(map(tuple, self.threads))

    # Memory.

    def read(self, address):
        if address in PLACES:
            return self.words[PLACES[address]]
        number, word = self._word(address)
        spec = self.walk.specs[number]
        constants = (
            CALLS + number * CALL_BYTES + FN,
            CALLS + number * CALL_BYTES + ROWS_AT,
            STEP,
            *(spec.parts, spec.wanted, None, spec.wake, spec.slice),
        )
        changing = self.calls[number][1]
        return changing[word] if word in changing else constants[word]

    def write(self, address, value):
        if address == SYMBOLS["gate"]:
            more = (value & protocol.INSIDE) > (self.words[0] & protocol.INSIDE)
            if more and self.shut:
                raise Wrong("a worker entered when the gate was shut")
        if address in PLACES:
            self.words[PLACES[address]] = value
        else:
            number, word = self._word(address)
            # A count beyond the last part says no more than the last: there is none left.
            most = self.walk.specs[number].parts
            self.calls[number][1][word] = min(value, most) if word == descriptor.NEXT else value

    def _word(self, address):
        number, offset = divmod(address - CALLS, CALL_BYTES)
        if number < 0 or not self.calls[number][0]:
            raise Wrong("somebody touched a call whose caller was back")
        return number, offset // 8

    # Threads: [role, number of its call, code, place, live values, what it does].

    def step(self, number, outcome):
        """Take the next step of a thread, with one of its outcomes, and all that nobody sees until the next one."""
        global _now
        _now = self
        thread = self._thaw(number)
        self._visible(number, thread, outcome)
        self._go_on(number, thread)

    def _thaw(self, number):
        _, _, code, place, values, _ = self.threads[number]
        code = self.walk.codes[code]
        thread = code.begin(None)
        thread.place = place
        for (is_variable, name), value in zip(code.live[place], values, strict=True):
            (thread.variables if is_variable else thread.values)[name] = value
        return thread

    def _go_on(self, number, thread):
        """Run what nobody sees."""
        own = self.threads[number]
        if own[5] is None:
            while not thread.is_over and not self.is_seen(thread, own):
                step = thread.code[thread.place]
                if not isinstance(step, Jump) and step.name == "call_c":
                    thread.give(1)
                else:
                    thread.step()
        live = self.walk.codes[own[2]].live[thread.place]
        own[3] = thread.place
        own[4] = tuple((thread.variables if variable else thread.values)[name] for variable, name in live)
        if thread.is_over and own[0] == "worker":
            self.threads[number] = self.new_worker()
        elif thread.is_over:
            self._is_back(number)

    def is_seen(self, thread, own):
        """Whether others can see the next step of a thread, or it has several outcomes."""
        step = thread.code[thread.place]
        if isinstance(step, Jump):
            return False
        if step.name == "call_c":
            name = step.attributes["name"]
            return not name.startswith("PyEval") and name not in UNSEEN and not self._is_start(own, thread.place)
        if step.name in SHARED:
            address = thread.of(step.operands[SHARED[step.name]]).address
            return address < CALLS or (address - CALLS) % CALL_BYTES == 8 * descriptor.NEXT
        return step.name == "call"

    def _is_start(self, own, place):
        return place in self.walk.codes[own[2]].starts

    def outcomes(self, number):
        """What the next step of a thread may come to; nothing if it has to wait."""
        _, _, code, place, _, doing = self.threads[number]
        if place >= len(self.walk.codes[code].steps):
            return ()
        if doing is not None:
            return self._outcomes_of(doing)
        step = self.walk.codes[code].steps[place]
        if step.name != "call_c":
            return (None,)
        name = step.attributes["name"]
        if name == "pthread_mutex_lock":
            return (None,) if self.owner is None else ()
        if name == "pthread_cond_signal":
            thread = self._thaw(number)
            condition = thread.of(step.operands[0]).address
            asleep = (other for other, t in enumerate(self.threads) if t[5] == ("sleeps", condition))
            return tuple(asleep) or (None,)
        several = {"now": (0, LATE), "is_beside_waker": (0, 1), "PyErr_CheckSignals": self.walk.scenario.signals}
        return several.get(name, (None,))

    def _outcomes_of(self, doing):
        what, which = doing[:2]
        if what == "runs":
            parts, meets = self.calls[which][2], self.walk.specs[which].meets
            return (None,) if sum(part > 0 for part in parts) >= meets else ()
        if what == "wakes":
            return (None,) if self.owner is None else ()
        timed = which == SYMBOLS["done"]
        return (0,) * self.walk.scenario.wakes_for_nothing + (TIMED_OUT,) * (timed and self.walk.scenario.times_out)

    def is_alone(self, number):
        """Whether the next step is a choice that has nothing to do with the other threads."""
        _, _, code, place, _, doing = self.threads[number]
        steps = self.walk.codes[code].steps
        return doing is None and place < len(steps) and steps[place].attributes.get("name") == "now"

    def _visible(self, number, thread, outcome):
        own = self.threads[number]
        step = thread.code[thread.place]
        if own[5] is not None:
            self._do(number, thread, outcome)
        elif step.name == "call":
            call, part = divmod(thread.of(step.operands[1]).address - CALLS, CALL_BYTES)
            part = (part - ROWS_AT) // STEP
            self._word(CALLS + call * CALL_BYTES)
            if self.calls[call][2][part]:
                raise Wrong("a part ran twice")
            self.calls[call][2][part] = 1
            own[5] = "runs", call, part
        elif step.name == "call_c":
            self._call_c(number, thread, step, outcome)
        else:
            self._note_gate(own, thread, step)
            thread.step()

    def _note_gate(self, own, thread, step):
        """Whether the caller has shut the gate, or opened it."""
        if step.name in SHARED and thread.of(step.operands[SHARED[step.name]]).address == SYMBOLS["gate"]:
            if step.name == "fetch_and":
                self.shut = True
            elif step.name == "store_ordered" and own[0] == "caller":
                self.shut = False

    def _do(self, number, thread, outcome):
        """End a part, or wake up."""
        own = self.threads[number]
        what, which = own[5][:2]
        if what == "runs":
            self.calls[which][2][own[5][2]] = 2
            own[5] = None
            thread.give(None)
        elif what == "sleeps":
            own[5] = "wakes", outcome
        else:
            self.owner, own[5] = number, None
            thread.give(which)

    def _call_c(self, number, thread, step, outcome):
        name, own = step.attributes["name"], self.threads[number]
        if name in WAITS:
            self._unlock(number)
            own[5] = "sleeps", thread.of(step.operands[0]).address
            return
        if name == "pthread_mutex_lock":
            self.owner = number
        elif name == "pthread_mutex_unlock":
            self._unlock(number)
        elif name == "pthread_cond_signal" and outcome is not None:
            self.threads[outcome][5] = "wakes", 0
        elif outcome == FORKS:
            self._fork(number)
        thread.give(outcome if isinstance(outcome, int) and name != "pthread_cond_signal" else 0)

    def _unlock(self, number):
        if self.owner != number:
            raise Wrong("a mutex was unlocked by another thread than its owner")
        self.owner = None

    def _fork(self, number):
        """This is the child: of all threads it has one, and then new workers."""
        self.owner, self.shut = None, False
        thread = self.walk.codes["prepare"].begin(At(0))
        while not thread.is_over:
            step = thread.code[thread.place]
            is_call = not isinstance(step, Jump) and step.name == "call_c"
            thread.give(None) if is_call else thread.step()
        for other in range(len(self.threads)):
            if other != number:
                role, *rest = self.threads[other]
                self.threads[other] = [role, *rest[:-1], GONE] if role == "caller" else self.new_worker()

    # Calls.

    def new_worker(self):
        own = ["worker", None, "worker", 0, (), None]
        self.threads.append(own)
        number = len(self.threads) - 1
        self._go_on(number, self.walk.codes["worker"].begin(At(0)))
        return self.threads.pop()

    def begin(self, number, call):
        """A caller begins a call."""
        self.calls[call][0] = True
        self.threads[number][:] = ["caller", call, "attend", 0, (), None]
        self._go_on(number, self.walk.codes["attend"].begin(At(CALLS + call * CALL_BYTES)))

    def _is_back(self, number):
        call = self.threads[number][1]
        _, changing, parts = self.calls[call]
        outcome = changing[descriptor.OUTCOME]
        if outcome == protocol.DONE and set(parts) - {2}:
            raise Wrong("a caller was back before all parts were done")
        if outcome == protocol.ERROR and 1 in parts:
            raise Wrong("a caller was back while a part was running")
        first = CALLS + call * CALL_BYTES
        for other, thread in enumerate(self.threads):
            known = [v for v in thread[4] if isinstance(v, At) and first <= v.address < first + CALL_BYTES]
            if other != number and known and thread[5] != GONE:
                raise Wrong("a thread knew of a call whose caller was back")
        self.calls[call] = [False, dict.fromkeys(CHANGING, 0), [0] * len(parts)]
        if outcome not in (protocol.DONE, protocol.ERROR, protocol.AGAIN):
            raise Wrong(f"a caller was back with {outcome}")
        following = self.walk.following.get(call)
        if following is not None:
            self.begin(number, following)
        else:
            self.threads[number][2:] = ["attend", len(self.walk.codes["attend"].steps), (), None]


_now = None


class Walk:
    """All states of a scenario."""

    def __init__(self, scenario, most=2_000_000):
        self.scenario, self.most = scenario, most
        self.codes = {make.__name__: Code(make) for make in protocol.KERNELS}
        self.specs = [call for calls in scenario.callers for call in calls]
        self.following, place = {}, 0
        for calls in scenario.callers:
            self.following |= {place + n: place + n + 1 for n in range(len(calls) - 1)}
            place += len(calls)

    def first(self):
        global _now
        calls = tuple((False, (0,) * len(CHANGING), (0,) * spec.parts) for spec in self.specs)
        state = State(self, ((0,) * len(WORDS), None, False, calls, ()))
        _now, place = state, 0
        for _ in range(self.scenario.workers):
            state.threads.append(state.new_worker())
        for calls in self.scenario.callers:
            state.threads.append([None] * 6)
            state.begin(len(state.threads) - 1, place)
            place += len(calls)
        return state.frozen()

    def run(self):
        """How many states there are.

        Raises:
            Wrong: what some order of steps leads to, with that order.
        """
        first = self.first()
        # By the number of a state: what it is, from where and by whose step it was reached, and all that lead to it.
        numbers, states, came, back = {first: 0}, [first], [None], [[]]
        for place, frozen in enumerate(states):
            for number, outcome in self._choices(frozen):
                state = State(self, frozen)
                try:
                    state.step(number, outcome)
                except Wrong as wrong:
                    raise Wrong(f"{wrong}, after the steps of threads {_way(came, place)} {number}") from None
                after = state.frozen()
                there = numbers.setdefault(after, len(states))
                if there == len(states):
                    states.append(after)
                    came.append((place, number))
                    back.append([])
                    assert there < self.most, "more states than a test has time for"
                back[there].append(place)
        self._ends(states, back, came)
        return len(states)

    def _choices(self, frozen):
        state = State(self, frozen)
        threads = range(len(state.threads))
        alone = next((number for number in threads if state.is_alone(number)), None)
        for number in threads if alone is None else [alone]:
            for outcome in state.outcomes(number):
                yield number, outcome

    def _ends(self, states, back, came):
        """From every state there is a way to an end, and there the pool is free."""
        todo = [place for place, frozen in enumerate(states) if self._is_end(frozen)]
        for place in todo:
            if states[place][0][WORDS.index("busy")] or states[place][0][WORDS.index("gate")] > protocol.INSIDE:
                raise Wrong(f"the pool was not free at the end, after the steps of threads {_way(came, place)}")
        good = set(todo)
        while todo:
            fresh = set(back[todo.pop()]) - good
            good |= fresh
            todo += fresh
        for place in range(len(states)):
            if place not in good:
                raise Wrong(f"somebody waits for ever, after the steps of threads {_way(came, place)}")

    def _is_end(self, frozen):
        over = len(self.codes["attend"].steps)
        return all(t[3] == over or t[5] == GONE for t in frozen[4] if t[0] == "caller")


def _way(came, place):
    steps = []
    while came[place] is not None:
        place, number = came[place]
        steps.append(str(number))
    return " ".join(reversed(steps))
