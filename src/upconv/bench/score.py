"""The arithmetic of a run: rates, limits, ratios, means. A ratio is rival time / our time: above 1 we are faster.

It is the median, over the rounds, of the ratio within a round: what is compared ran side by side, so that a machine
whose clock wanders between rounds does not decide. Where two were timed again, that duel is what counts between them.
"""

import math
from statistics import median

# This library, the weight an array in every call, or prepared once; and what it is called in a report.
GIVEN = ("upconv-nchw", "upconv-nhwc")
PREPARED = ("prepared-nchw", "prepared-nhwc")
OURS = (*GIVEN, *PREPARED)
FORMS = {"upconv": GIVEN, "prepared": PREPARED}
PROBE = "probe"
NEAR = 0.05

# Which rival each of our layouts is held against.
PARTNERS = {
    "upconv-nchw": "torch-nchw",
    "upconv-nhwc": "torch-nhwc",
    "prepared-nchw": "torch-nchw",
    "prepared-nhwc": "torch-nhwc",
}


def rounds(row, engine):
    """What an engine measured in each round of a row: seconds of a call, or samples of the probe; maybe nothing."""
    entry = row.get("probe") if engine == PROBE else row["engines"].get(engine)
    return (entry or {}).get("rounds") or []


def seconds(row, engine):
    """The median of an engine's rounds on a row, or None where it has no time."""
    times = rounds(row, engine)
    return median(times) if times else None


def gflops(row, engine):
    """Rate on useful FLOPs, or None."""
    time = seconds(row, engine)
    return None if time is None else 2 * row["macs"] / time / 1e9


def side_by_side(row, ours, rival):
    """The rounds of two as pairs: those of their duel if they were timed again."""
    for duel in row.get("again", []):
        if duel["pair"] == [ours, rival]:
            return list(zip(duel["ours"], duel["rival"], strict=True))
    return list(zip(rounds(row, ours), rounds(row, rival), strict=False))


def ratio(row, ours, rival):
    """How many times as fast as the rival, or None where either has no time.

    >>> ratio({"engines": {"a": {"rounds": [1.0]}, "b": {"rounds": [3.0]}}}, "a", "b")
    3.0
    """
    pairs = side_by_side(row, ours, rival)
    return median(other / mine for mine, other in pairs) if pairs else None


def best(row, engines):
    """The name of the fastest of some engines on a row, or None."""
    timed = [(seconds(row, name), name) for name in engines if seconds(row, name) is not None]
    return min(timed)[1] if timed else None


def our_best(row, ours=OURS):
    return best(row, ours)


def best_rival(row):
    return best(row, [name for name in row["engines"] if name not in OURS])


def new_size(row):
    """Milliseconds that a size never seen costs beyond its repeat, the weight as given where that ran; or None."""
    found = [(row["engines"].get(name) or {}).get("new_size") for name in OURS]
    return next((1e3 * cost for cost in found if cost is not None), None)


def probed(row, key):
    """The median of what the probe measured on a row ("peak", "clock", "copy"), or None."""
    samples = rounds(row, PROBE)
    return median(sample[key] for sample in samples) if samples else None


def limits(row, sample=None):
    """(F, B) in seconds: useful FLOPs over the peak, and the copy of as many bytes; (None, None) where unknown.

    By one sample of the probe, or by the medians of all.
    """
    peak, copy = (sample["peak"], sample["copy"]) if sample else (probed(row, "peak"), probed(row, "copy"))
    return (2 * row["macs"] / peak, copy) if peak and copy else (None, None)


def bound(row):
    """What bounds a row: "F" where F > 8B, "B" where B > 4F, "F+B" between; None where the limits are unknown."""
    f, b = limits(row)
    if f is None:
        return None
    return "F" if f > 8 * b else "B" if b > 4 * f else "F+B"


def yardstick(row, sample=None):
    """The honest lower bound of a row's time in seconds: F, B or F + B as `bound` says; or None.

    >>> yardstick({"macs": 1, "probe": {"rounds": [{"peak": 2.0, "copy": 0.1}]}})
    1.0
    """
    f, b = limits(row, sample)
    return None if f is None else {"F": f, "B": b, "F+B": f + b}[bound(row)]


def floor(row, sample=None):
    """max(F, B) in seconds, or None."""
    f, b = limits(row, sample)
    return None if f is None else max(f, b)


def efficiency(row, engine, limit=floor):
    """A limit over an engine's time: 1 is the limit itself; None where either is unknown."""
    pairs = side_by_side(row, engine, PROBE)
    return median(limit(row, sample) / time for time, sample in pairs) if pairs else None


def executed_rate(row, engine):
    """Executed FLOPs per second over the measured peak, or None; useful FLOPs stand in where no plan counts them."""
    share = efficiency(row, engine, lambda row, sample: limits(row, sample)[0])
    return None if share is None else share * (row["engines"][engine].get("executed_macs") or row["macs"]) / row["macs"]


def geometric_mean(values):
    """The geometric mean of the values that are not None; None if there are none.

    >>> geometric_mean([1.0, None, 4.0])
    2.0
    """
    known = [value for value in values if value is not None]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


def comparisons(rows):
    """The ratios that sum up a run: (label, function of a row) pairs, as far as the engines took part."""
    present = {name for row in rows for name in row["engines"] if seconds(row, name) is not None}
    found = []
    for ours, rival in PARTNERS.items():
        if {ours, rival} <= present:
            found.append((f"{ours} over {rival}", lambda row, a=ours, b=rival: ratio(row, a, b)))
    rivals = sorted(present.difference(OURS))
    for form, ours in FORMS.items():
        if present.isdisjoint(ours) or not rivals:
            continue
        better = f"{form}'s better layout over"
        found += [
            (f"{better} {rival}", lambda row, b=rival, a=ours: ratio(row, our_best(row, a), b)) for rival in rivals
        ]
        found.append((f"{better} the best of all", lambda row, a=ours: against_best(row, a)))
    return found


def against_best(row, ours=OURS):
    """The fastest of ours (of all, or of some) against the fastest rival of the row, whichever that is; or None."""
    return ratio(row, our_best(row, ours), best_rival(row))


def duels(row, limit=None):
    """The pairs (ours, rival) too near to call: within 5 % of parity, or of a stated limit of time over the yardstick.

    The rival of a limit is the probe, the machine itself.
    """
    pairs = [(ours, rival) for ours, rival in PARTNERS.items() if _near(ratio(row, ours, rival), 1)]
    for ours in FORMS.values():
        champion = our_best(row, ours), best_rival(row)
        if champion not in pairs and _near(ratio(row, *champion), 1):
            pairs.append(champion)
    if limit is not None:
        pairs += [(ours, PROBE) for ours in OURS if _near(_times_over(row, ours), limit)]
    return pairs


def _times_over(row, engine):
    share = efficiency(row, engine, yardstick)
    return None if share is None else 1 / share


def _near(value, target):
    return value is not None and abs(value / target - 1) <= NEAR
