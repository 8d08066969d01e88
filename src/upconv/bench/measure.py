"""The order of a run: the gate, then row by row the outputs against float64, the rounds, and those too near to call."""

from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from .crew import ANSWER_SECONDS, Crew, EngineError
from .score import OURS, PROBE, duels

TRUTH = "float64"
LONGER = 5


class GateError(RuntimeError):
    """This library computes something wrong, so nothing is timed."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to run: layers and engines, the rounds of each row and the seconds of each engine's turn.

    `isa` forces an instruction set on this library and the probe; `limit` is a stated ratio of time over the yardstick
    near which rows are timed again; `patience` is how many seconds an answer may take.
    """

    layers: list
    engines: list
    rounds: int = 5
    seconds: float = 0.08
    threads: int = 1
    isa: str | None = None
    limit: float | None = None
    patience: float = ANSWER_SECONDS

    @property
    def ours(self):
        return [name for name in self.engines if name in OURS]

    @property
    def steps(self):
        """How many steps of progress the run has: the gate's rows and the rounds of every row."""
        return len(self.layers) * (1 + self.rounds)


class Bench:
    """One run. `rows` grows as rows are finished, so an interrupted run still has those."""

    def __init__(self, options: Options, crew=Crew):
        self.options, self.crew = options, crew
        self.progress = _silent
        self.rows = []

    def run(self):
        """Run it all; gives the rows.

        Raises:
            GateError: before anything is timed, when this library is wrong on any row, scaled down or whole.
        """
        options = self.options
        forced = {"UPCONV_ISA": options.isa} if options.isa else {}
        environments = dict.fromkeys([*OURS, PROBE], forced)
        names = [*options.engines, PROBE, TRUTH]
        with self.crew(names, options.threads, environments, options.patience) as crew, TemporaryDirectory() as folder:
            for layer in options.layers:
                self.progress(f"gate: {layer.name}")
                self._gate(crew, layer.small(), folder)
            for layer in options.layers:
                self.rows.append(self._row(crew, layer, folder))
        return self.rows

    def _gate(self, crew, layer, folder):
        files = crew[TRUTH].ask("truth", layer=layer.as_dict(), folder=folder)
        for name in self.options.ours:
            try:
                crew[name].ask("prepare", layer=layer.as_dict())
                crew[name].ask("check", truth=files)
            except EngineError as error:
                raise GateError(f"{name} is wrong on {layer.name}, so nothing is timed: {error}") from None

    def _row(self, crew, layer, folder):
        row = {"name": layer.name, "layer": layer.as_dict(), "macs": layer.macs, "bytes": layer.bytes, "engines": {}}
        files = crew[TRUTH].ask("truth", layer=layer.as_dict(), folder=folder)
        for name in self.options.engines:
            row["engines"][name] = self._admit(crew[name], layer, files)
        row["probe"] = self._probe_ready(crew[PROBE], layer)
        for number in range(self.options.rounds):
            self.progress(layer.name)
            self._round(crew, row, number)
        again = (self._duel(crew, layer.name, pair) for pair in duels(row, self.options.limit))
        row["again"] = [duel for duel in again if duel]
        for name in [*self.options.engines, PROBE]:
            _let_go(crew[name])
        return row

    def _admit(self, worker, layer, files):
        """The entry of an engine that may be timed, or of one that may not: {"reason": ...}."""
        try:
            facts = worker.ask("prepare", layer=layer.as_dict())
            return {**facts, "error": worker.ask("check", truth=files), "rounds": []}
        except EngineError as error:
            if worker.name in OURS:
                raise GateError(f"{worker.name} is wrong on {layer.name}, so the run ends: {error}") from None
            return {"reason": str(error)}

    def _probe_ready(self, worker, layer):
        try:
            worker.ask("prepare", layer=layer.as_dict())
            return {"rounds": []}
        except EngineError as error:
            return {"reason": str(error)}

    def _round(self, crew, row, number):
        """Everybody has one turn; the order moves on from round to round, so nobody always follows the same."""
        entries = {**row["engines"], PROBE: row["probe"]}
        able = [name for name, entry in entries.items() if "rounds" in entry]
        turn = number % max(1, len(able))
        for name in able[turn:] + able[:turn]:
            try:
                entries[name]["rounds"].append(crew[name].ask("round", seconds=self.options.seconds))
            except EngineError as error:
                entries[name].clear()
                entries[name]["reason"] = str(error)

    def _duel(self, crew, name, pair):
        """Time two alone, five times as long; None if one of them fails."""
        self.progress(f"{name}: {pair[0]} and {pair[1]} again", steps=0)
        times = {engine: [] for engine in pair}
        for number in range(self.options.rounds):
            for engine in pair if number % 2 else pair[::-1]:
                try:
                    times[engine].append(crew[engine].ask("round", seconds=LONGER * self.options.seconds))
                except EngineError:
                    return None
        return {"pair": list(pair), "ours": times[pair[0]], "rival": times[pair[1]]}


def _let_go(worker):
    """Free a layer's memory, where there is still a process that holds it."""
    if worker.alive:
        worker.ask("drop")


def _silent(label, steps=1):
    """Progress that nobody looks at."""


@contextmanager
def progress_bar(total, stream):
    """A function of (label, steps=1) that shows, on a terminal, how far a run is: by tqdm if it is there."""
    if not stream.isatty():
        yield _silent
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield _line(total, stream)
        stream.write("\r\x1b[K")
        stream.flush()
        return
    with tqdm(total=total, file=stream, leave=False) as bar:

        def advance(label, steps=1):
            bar.set_description(label[:40], refresh=False)
            bar.update(steps)

        yield advance


def _line(total, stream):
    done = 0

    def advance(label, steps=1):
        nonlocal done
        done += steps
        stream.write(f"\r\x1b[K[{done}/{total}] {label}")
        stream.flush()

    return advance
