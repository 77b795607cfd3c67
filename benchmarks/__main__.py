"""`python -m benchmarks [table ...]`: measures and prints the tables that README and docs quote."""

import argparse
import importlib

from benchmarks.options import Options

TABLES = {
    "families": "each family's main operation through HTTP, against its raw graph",
    "large": "one large request at a time, by media type, against its raw graphs",
    "loading": "what a load costs the rows that run meanwhile",
    "queue": "an echo through HTTP: the queue in one process, and the queue between machines",
    "broker": "the broker alone, without HTTP",
    "trips": "round trips to the queue's server",
    "workers": "throughput by the number of workers",
    "core": "what one core of the queue's server carries, and microseconds by script",
    "peers": "the same echo in other servers (make bench-peers installs them)",
}


def main() -> None:
    listed = "\n".join(f"  {name:10}{caption}" for name, caption in TABLES.items())
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=f"{__doc__}\n\n{listed}", formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", nargs="*", metavar="table", help="default: all but peers")
    parser.add_argument("--seconds", type=float, default=Options.seconds, help="per cell")
    parser.add_argument("--repeats", type=int, default=Options.repeats, help="runs per cell; the spread is printed")
    parser.add_argument("--threads", type=int, default=Options.threads, help="engine threads, of service and raw graph")
    asked = parser.parse_args()
    if unknown := set(asked.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(sorted(unknown))}: choose from {', '.join(TABLES)}")
    options = Options(asked.seconds, asked.repeats, asked.threads)
    for name in asked.tables or [name for name in TABLES if name != "peers"]:
        print(f"\n## {name}: {TABLES[name]}\n", flush=True)
        importlib.import_module(f"benchmarks.{name}").main(options)


if __name__ == "__main__":
    main()
