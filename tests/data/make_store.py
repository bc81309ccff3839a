"""Writes store-v1.db or store-v2.db, once: a store of that format, which every later version must read."""

from pathlib import Path

from faults.samples import record
from lrcontrol.runs.store import Store

if __name__ == "__main__":  # the tests collect this file: importing it must not write a store anew
    with Store(Path(__file__).with_name("store-v2.db")) as store:
        for number in range(5):
            store.add(record(number))
