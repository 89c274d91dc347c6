# What the Python programs share: how they report. One JSON line per step; the test compares it with what a client must see.
# A program gets the broker's address, a prefix for all names and, for amqps, the authority that signed the broker's certificate:
# python3 <client>_story.py <url> <prefix> [<file>]
import json
import sys

URL = sys.argv[1]
PREFIX = sys.argv[2]
AUTHORITY = sys.argv[3] if len(sys.argv) > 3 else None


def name(suffix):
    return PREFIX + suffix


def say(step, saw=True):
    print(json.dumps({"step": step, "saw": saw}), flush=True)


def ask(what):
    """Asks the test to do something to the broker. False: this broker must be left alone."""
    print(json.dumps({"ask": what}), flush=True)
    return sys.stdin.readline().strip() == "done"


def lost(sent, came):
    """The keys whose values did not come back as they went out, type and all."""
    return sorted(k for k in sent if k not in came or not same(sent[k], came[k])) + sorted(
        k for k in came if k not in sent
    )


def same(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return not lost(a, b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    # A client may have classes of its own, such as pika's for integers of 64 bits.
    return isinstance(b, type(a)) and a == b
