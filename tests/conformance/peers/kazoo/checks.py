"""kazoo against a ZooKeeper server: its client API and every recipe it has.

    python checks.py HOST:PORT [--json] [--only TEXT]

Prints one line per check and exits 1 if any failed. The server must be started with a short tick,
the superuser super:secret, and all four-letter words allowed.
"""

import argparse
import sys

import harness

# Importing a module registers its checks, in the order of these lines.
import znodes  # noqa: F401
import watches  # noqa: F401
import transactions  # noqa: F401
import access  # noqa: F401
import sessions  # noqa: F401
import admin_words  # noqa: F401
import recipes_locks  # noqa: F401
import recipes_groups  # noqa: F401
import recipes_queues  # noqa: F401
import recipes_watchers  # noqa: F401


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="the server, host:port")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--only", help="run only the checks with this in their name")
    return harness.main(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
