"""The table of certified search, made from the JSON files of its experiments.

    python -m experiments search.tables docs/results

Prints it, and writes it to ``search.md`` beside the files.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from percert.reports.table import Column, Table, facts

Result = dict[str, Any]

INTRODUCTION = """# Certified search, measured

Made by `python -m experiments search.tables` from the JSON files beside it; each names the settings
of its run, and the machine. That had other work: ratios are medians of runs that took turns, and
processor time is what other work hardly changes.
"""

ASKED = """Pictures of Tiny ImageNet, asked one by one on one thread: certificates and paths in, the
embedding of the query taken off, all engines in turns. Percert keeps all rows in memory, or their
first coordinates and 8-bit copies with the rows on the disk. FAISS (range search, or the first
ten), usearch's exact search and LanceDB's flat search prove nothing and give no paths. The
distances for all are those of one pair of stored rows in a million, and in a thousand. A query that
is a copy is a stored picture at 0.9 of its brightness. The last columns say how many times as fast
percert is: in memory as FAISS, from the disk as LanceDB. The machines had other work, which slows
the processor as well by what it takes of caches: compare within a run.

What was aimed at, and what came of it on an Intel Xeon, before products had one digit of a query
alone. Copies 8 times as fast as FAISS at one pair in a million: at 110,000 pictures 9 times by one
distance for all, 10 by thresholds of each image's own (7.4 and more for a query that is a copy). 3
times at one pair in a thousand: 3.4. The first ten 3 times: 3.4; at 20,000 pictures as fast as
FAISS: missed by a sixth. From the disk as fast as LanceDB: 1.1 times at 20,000, 1.9 at 110,000. All
pairs of 110,000 pictures in a minute of two processors: 40 s of one. A copy at most 1.2 times as
long as a stranger: 1.07 for the first ten, but 1.35 by own thresholds. What is left are some ms
that do not depend on the rows, and weigh the more the less there is to read: certificates, ranking
and paths are three hundred small operations, slower after other engines have read all rows through
the caches, as here, than in a store asked over and over; of the six ms of a copy, its certificate
takes one and a half.

On an AMD EPYC FAISS reads 20 GB of floats a second, twice as much as on the Xeon. At 1,010,000,
110,000 and 20,000 pictures, copies at one pair in a million are 14.0, 6.7 and 2.7 times as fast as
FAISS for strangers, at one pair in a thousand 3.8, 2.4 and 1.2 times, the first ten 4.6, 2.2 and
0.8 times: what was aimed at is reached at a million, and missed where there is less to read but for
copies at 20,000. From the disk 2.3 to 8.1 times as fast as LanceDB, and all pairs of 110,000 in 37
s of one processor. At a million a copy takes 0.85 times as long as a stranger for the first ten,
0.98 by own thresholds; at 110,000 0.93 and 1.41. The million are Tiny ImageNet's 109,973 pictures
and eight edits of each, embedded in float32: crops of 85 to 95 and of 65 to 85 %, gamma, turns by 3
to 12 degrees, contrast, blur, brightness, noise, and JPEG files of 20,000. There all pairs were not
asked for.
"""


RANDOM = """Vectors that lie along no few axes are the worst case: a query looks at every row, in 8
bits. The 10 nearest, milliseconds of one processor, medians of runs in turns; percert with all
certificates. A copy is a vector of the collection, moved: how far it stays the first depends on
much of the collection, which percert then reads twice. "Kept" is a store that has been asked
before, "disk" one that has not.
"""


@dataclass(frozen=True)
class Durations:
    """What every engine took for some queries, in one run."""

    asked: str
    milliseconds: Mapping[str, float]


def random_table(results: list[Result]) -> str:
    """Milliseconds of each search, a row a number of queries and a kind."""
    rows = []
    for result in results:
        for queries, kind in dict.fromkeys((t["queries"], t["kind"]) for t in result["timings"]):
            took = {
                f"{one['name']}, {one['place']}": 1000 * one["processor"]
                for one in result["timings"]
                if (one["queries"], one["kind"]) == (queries, kind)
            }
            rows.append(Durations(f"{_size(result)}, {queries} {kind}", took))
    engines = dict.fromkeys(name for row in rows for name in row.milliseconds)

    def milliseconds(engine: str) -> Callable[[Durations], float | None]:
        return lambda row: row.milliseconds.get(engine)

    columns: list[Column[Durations]] = [
        Column("vectors, queries", lambda row: row.asked),
        *(Column(name, milliseconds(name), ".0f", missing="") for name in engines),
    ]
    return Table.of(rows, columns).markdown()


@dataclass(frozen=True)
class Latencies:
    """What every engine took for one kind of query, in one run."""

    size: str
    machine: str
    kind: str
    what: str
    engines: Mapping[str, Result]


#: The engines by their names in the results, and what they are called in the table.
ENGINES = {
    "percert, memory": "percert, memory",
    "percert, disk": "percert, disk",
    "faiss": "FAISS",
    "usearch": "usearch",
    "lancedb": "LanceDB",
}


def asked_table(results: list[Result]) -> str:
    """Milliseconds from an image to its answer, without the embedding, and megabytes of rows."""
    rows = []
    for result in results:
        for kind in ("stranger", "copy"):
            timings = [one for one in result["timings"] if one["kind"] == kind]
            for what in dict.fromkeys(one["what"] for one in timings):
                engines = {one["engine"]: one for one in timings if one["what"] == what}
                rows.append(Latencies(_size(result), _processor(result), kind, what, engines))

    def processor(engine: str) -> Callable[[Latencies], float | None]:
        return lambda row: row.engines.get(engine, {}).get("processor")

    def ours(key: str) -> Callable[[Latencies], float]:
        return lambda row: float(row.engines["percert, memory"][key])

    def faster(own: str, other: str) -> Callable[[Latencies], float | None]:
        def times(row: Latencies) -> float | None:
            there = own in row.engines and other in row.engines
            used = row.engines
            return used[other]["processor"] / used[own]["processor"] if there else None

        return times

    columns: list[Column[Latencies]] = [
        Column(f"rows of {results[0]['metric']}", lambda row: row.size),
        Column("processor", lambda row: row.machine, side="right"),
        Column("query", lambda row: row.kind, side="right"),
        Column("asked for", lambda row: row.what, side="right"),
        Column("found", ours("found"), "g"),
        *(Column(title, processor(name), ".1f", missing="") for name, title in ENGINES.items()),
        Column("MB read, memory", ours("megabytes"), ".1f"),
        Column("x FAISS", faster("percert, memory", "faiss"), ".1f", missing=""),
        Column("x LanceDB", faster("percert, disk", "lancedb"), ".1f", missing=""),
    ]
    return Table.of(rows, columns).markdown()


def _size(result: Result) -> str:
    return f"{result['rows']:,} x {result['width']}"


def _processor(result: Result) -> str:
    name = str(result["conditions"]["machine"]).split(",")[0]
    return name.replace("(R)", "").removesuffix(" Processor")


def turned_words(result: Result) -> str:
    """What reading and turning cost once, how much there is to read, and all pairs."""
    first, second = result["first_seconds"]
    pairs = ""
    if result["duplicates"] is not None:
        _, used, links = result["duplicates"]
        pairs = f"; all pairs (`duplicates`) {used:.0f} s of processor, {links} links"
    size = 4e-6 * result["rows"] * result["width"]
    return (
        f"{result['name']}: {size:,.0f} MB of rows; the first query {first:.1f} s by the clock, "
        f"which reads them, the second {second:.1f} s, which turns them{pairs}.\n"
    )


BILLION = """By the largest run above and by adding, below, scaled with the rows: arithmetic, which
nobody has run. Fixed costs of a query are scaled along, so a question costs less than that. Each
worker of `--engine ray` keeps the first coordinates and the 8-bit copies of its part; how fast a
machine reads them from memory may bind before its processors do, and queries that share a pass
share that.
"""
#: What the arithmetic is made for: rows, and processors and bytes of memory of a machine.
MANY, PROCESSORS, MACHINE = 10**9, 64, 256e9


def billion_table(result: Result, paired: Result | None, added: list[Result]) -> str:
    """Bytes, machines and seconds that a billion rows of one view would take."""
    rows, width = result["rows"], result["width"]
    scale = MANY / rows
    # The coordinates of principal_axes.CUTS, whole rows, a name and numbers.
    kept = width // 2 + 64 + width + 12 + 112
    machines = -(-kept * MANY // MACHINE)
    workers = machines * PROCESSORS
    lines = {
        "on the disk, in half precision": f"{2e-12 * width * MANY:.1f} TB",
        "kept in memory: coordinates, 8-bit rows, names": f"{kept * MANY / 1e12:.1f} TB",
        f"machines of {MACHINE / 1e9:.0f} GB for that": f"{machines:.0f}",
    }
    for one in result["timings"]:
        if (one["engine"], one["kind"]) == ("percert, disk", "stranger"):
            seconds, read = 1e-3 * one["processor"] * scale, one["megabytes"] * scale / 1e3
            took = f"{seconds:.0f} s of a processor, {seconds / workers:.2f} s of {workers:.0f}"
            lines[f"{one['what']}, one query"] = f"{took}; {read:,.0f} GB read"
    if paired is not None:
        pairs = paired["duplicates"][1] * (MANY / paired["rows"]) ** 2 / workers / 86400
        lines[f"all pairs, {workers:.0f} processors"] = f"{pairs:,.0f} days"
    for one in added:
        hours = MANY / one["end_to_end"]["images_per_processor_second"] / workers / 3600
        lines[f"adding {one['name']}, {one['views']} views"] = f"{hours:,.0f} hours of all"
    return facts(lines, f"{MANY:,} x {width}, {result['metric']}").markdown()


SERVICE = """`percert app` on two processors that the clients share, and much other work: what
counts is the ratio. Passes of one question each, beside passes of all that wait (32 at most), two
servers asked in turns. Nobody waits for companions: a single client is answered as fast by either.
"""


def service_table(result: Result) -> str:
    """Questions answered a second."""
    columns: list[Column[Result]] = [
        Column(f"{result['images']:,} images, {result['metric']}", itemgetter("what")),
        Column("clients", itemgetter("clients"), "d"),
        Column(
            "a pass answers",
            itemgetter("together"),
            lambda together: "one" if together == 1 else "all that wait",
        ),
        Column("answers a second", itemgetter("a_second"), ".1f"),
        Column("seconds, median", itemgetter("median_seconds"), ".2f"),
        Column("questions a pass", itemgetter("shared"), ".1f"),
    ]
    return Table.of(result["served"], columns).markdown()


def add_table(results: list[Result]) -> str:
    """Images a second, the share of the limit, and of each stage."""

    def speed(which: str) -> Callable[[Result], float]:
        return lambda one: float(one[which]["images_per_processor_second"])

    def stages(one: Result) -> str:
        names = ("reading", "decoding", "resizing", "network", "committing")
        total = sum(one["stages"][name] for name in names)
        return ", ".join(f"{name} {100 * one['stages'][name] / total:.0f} %" for name in names)

    columns: list[Column[Result]] = [
        Column("added", lambda one: f"{one['name']}, {one['images']} images, {one['views']} views"),
        Column("end to end", speed("end_to_end"), ".0f"),
        *(Column(which, speed(which), ".0f") for which in ("network", "decoder", "limit")),
        Column("share of limit, clock", itemgetter("share_of_limit"), ".2f"),
        Column("processor", itemgetter("processor_share_of_limit"), ".2f"),
        Column("stages", stages, side="right"),
    ]
    return Table.of(results, columns).markdown()


def kills_table(result: Result) -> str:
    kills = result["kills"]
    acknowledged = sum(one["acknowledged"] for one in kills)
    values = {
        "kills": str(len(kills)),
        "lines that acknowledged an image, at the kills": str(acknowledged),
        "of these lost": str(sum(one["lost"] for one in kills)),
        "problems that verifying found": str(sum(len(one["problems"]) for one in kills)),
        "adding again stored all, each once": "yes" if result["completed"] else "no",
    }
    return facts(values, "during add").markdown()


def memory_table(result: Result) -> str:
    title = (
        f"{result['rows']:,} {result['vectors']}, {result['store_mib']:.0f} MiB, "
        f"limit {result['limit_mib']:.0f} MiB"
    )
    taken = {name: f"{mib:.0f}" for name, mib in result["taken_mib"].items()}
    return facts(taken, title, "MiB taken").markdown()


def views_table(result: Result) -> str:
    def rate(name: str) -> Callable[[Result], float]:
        return lambda one: float(one["rates"][name])

    columns: list[Column[Result]] = [
        Column("views", lambda one: f"{one['name']} ({one['views']})"),
        Column("threshold", itemgetter("threshold"), ".3f"),
        Column("strangers at the metric's own", itemgetter("fpr_of_recommended"), ".1e"),
        *(Column(name, rate(name), ".3f") for name in result["sets"][0]["rates"]),
    ]
    return Table.of(result["sets"], columns).markdown()


def report(folder: Path) -> str:
    """All tables of the results in ``folder``; ``ValueError`` where there are none."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    of: dict[str, list[Result]] = {}
    for result in results:
        of.setdefault(result.get("benchmark", ""), []).append(result)
    parts = []
    if found := of.get("search-asked"):
        found.sort(key=lambda one: (one["rows"], _processor(one)))
        title = "## From an image to its answer, in milliseconds of one processor\n"
        parts += [title, ASKED, asked_table(found), *(turned_words(one) for one in found)]
        largest = max(found, key=lambda one: one["rows"])
        parts += ["## A billion pictures\n", BILLION]
        paired = [one for one in found if one["duplicates"] is not None]
        most = max(paired, key=itemgetter("rows")) if paired else None
        parts += [billion_table(largest, most, of.get("index-add", []))]
    if found := of.get("search-service"):
        parts += ["## A store as a service\n", SERVICE, service_table(found[0])]
    if found := of.get("search-speed"):
        parts += ["## Vectors without axes\n", RANDOM, random_table(found)]
    if found := of.get("index-memory"):
        parts += ["## Memory of a query\n", memory_table(found[0])]
    if found := of.get("index-add"):
        parts += ["## Images added a second of processor time\n", add_table(found)]
    if found := of.get("index-kills"):
        parts += ["## Kills\n", kills_table(found[0])]
    if found := of.get("index-views"):
        title = f"## Views: found at a false-positive rate of {found[0]['fpr']:g}\n"
        parts += [title, views_table(found[0])]
    if not parts:
        raise ValueError(f"{folder}: expected results of certified search, found none")
    return "\n".join([INTRODUCTION, *parts])


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/results")
    text = report(folder)
    (folder / "search.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
