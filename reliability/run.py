"""What must survive, tried at length: prints what was counted and writes latest.json beside this file.

    python reliability/run.py [NAME ...]

Names pick rows, which are listed at the end of this file; by default all. A row that
is not run keeps its figures from before.
"""

import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
sys.path.insert(0, str(TESTS))
os.environ["PYTHONPATH"] = str(TESTS)

import log_kit  # noqa: E402 - the tests' helpers are found by the lines above
from faults import range_faults, ray_faults, runners  # noqa: E402 - the tests' helpers are found by the lines above
from faults.damage import damaged_verdicts  # noqa: E402
from faults.disks import STRACE, crash_everywhere  # noqa: E402
from faults.files import kill_file_writers  # noqa: E402
from faults.lives import kill_lives  # noqa: E402
from faults.rooms import fill, room  # noqa: E402
from faults.samples import record  # noqa: E402
from faults.studies import kill_study, undisturbed  # noqa: E402
from faults.writers import kill_writers, shares, write_side_by_side  # noqa: E402
from lrcontrol.runs.store import Store  # noqa: E402

RAY = importlib.util.find_spec("ray") is not None


def store_kills(folder):
    found = [kill_writers(folder / f"{number}.db", 100, seed=number, side_by_side=8) for number in range(10)]
    lost, doubled, changed = (sum(getattr(each, name) for each in found) for name in ("lost", "doubled", "changed"))
    acknowledged = sum(each.acknowledged for each in found)
    return (
        1000,
        lost + doubled + changed,
        f"kills=1000 writers=8 acknowledged={acknowledged} lost={lost} doubled={doubled}",
    )


def driver_kills(folder):
    found = kill_lives(folder, runs=100, kills=300, seed=1)
    return found.kills, int(not found.equal), f"kills={found.kills} tables equal={found.equal}"


def file_kills(folder):
    found = kill_file_writers(folder, kills=1000, seed=1)
    return found.kills, found.torn, f"kills={found.kills} written={found.written} torn={found.torn}"


def store_power(folder):
    if STRACE is None:
        return 0, 0, "not tried: strace is not installed"
    found = crash_everywhere(folder, count=200, seed=1, share=0.25)
    figure = f"writes={found.writes} disks={found.disks} refused={found.refused} lost={found.lost} wrong={found.wrong}"
    return found.disks, found.refused + found.lost + found.wrong, figure


def store_room(folder):
    bad = kept = tried = 0
    for number in range(200):
        with room(folder / str(number), 12_288 + 4096 * number) as made:
            if not made:
                return tried, bad, "not tried: small file systems cannot be mounted"
            found = fill(folder / str(number))
        told = str(folder / str(number)) in found.sentence and "bytes free there" in found.sentence
        bad += found.lost + (not found.resumed) + (not told)
        kept, tried = kept + found.kept, tried + 1
    return tried, bad, f"fill points={tried} records kept={kept} lost, untold or stuck={bad}"


def store_writers(folder):
    found, statuses = write_side_by_side(folder / "runs.db", writers=8, each=500)
    least = shares(folder / "shares.db", writers=8, seconds=10)[0]
    bad = found.lost + found.doubled + found.changed + sum(map(bool, statuses)) + (least < 0.05)
    figure = f"writers=8 records={found.stored} lost={found.lost} doubled={found.doubled} least share={least:.1%}"
    return 4000, bad, figure


def store_grows(folder):
    path = folder / "runs.db"
    records = [record(number) for number in range(2000)]
    with Store(path) as store:
        store.add(records[0])
        files, memory = len(os.listdir("/proc/self/fd")), _resident()
        for each in records[1:]:
            store.add(each)
            store.records()
        files, memory = len(os.listdir("/proc/self/fd")) - files, _resident() - memory
    size = path.stat().st_size / 2000
    return (
        2000,
        (files != 0) + (memory > 20e6),
        f"open files={files:+} memory={memory / 1e6:+.1f} MB bytes a run={size:.0f}",
    )


def _resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def store_damage(folder):
    with Store(folder / "whole.db") as store:
        for number in range(12):
            store.add(record(number))
    verdicts = [verdict for _, verdict in damaged_verdicts((folder / "whole.db").read_bytes(), folder, 1000, seed=7)]
    right, refused = verdicts.count("right"), verdicts.count("refused")
    return (
        1000,
        1000 - right - refused,
        f"damaged=1000 refused={refused} harmless={right} wrong={1000 - right - refused}",
    )


def run_endings(folder):
    found = runners.end_in_every_way(8)
    bad = 2 * found.tried - found.told - (found.tried - found.hurt)
    return 2 * found.tried, bad, f"ends={found.tried} told={found.told} bystanders hurt={found.hurt}"


def run_memory(folder):
    found = runners.eat_memory(20)
    return found.tried, found.tried - found.told + found.hurt, f"told={found.told} bystanders hurt={found.hurt}"


def run_hangs(folder):
    found = runners.hang(10)
    bad = found.counted.tried - found.counted.told + found.counted.hurt + (not found.gone)
    told = f"told={found.counted.told} hurt={found.counted.hurt} left={int(not found.gone)}"
    return found.counted.tried, bad, f"{told} slowest batch {found.late:.1f} s after its limits"


def run_late(folder):
    found = runners.come_late(100)
    return found.tried, found.tried - found.told + found.hurt, f"refused={found.told} bystanders hurt={found.hurt}"


def interrupts(folder):
    once = runners.interrupt(folder, 200, twice=False, seed=1)
    twice = runners.interrupt(folder, 200, twice=True, seed=2)
    bad = sum(each.lost + each.left + each.other for each in (once, twice))
    lost, left = once.lost + twice.lost, once.left + twice.left
    return 400, bad, f"lost={lost} left={left}; once at most {once.slowest:.1f} s, twice {twice.slowest:.1f} s"


def race_kills(folder):
    killed, equal = runners.kill_races(folder, 50, seed=3)
    return killed, int(not equal), f"kills={killed} other decisions={int(not equal)}"


def study_kills(folder):
    answer, _, seconds = undisturbed(folder / "peace", "--executor", "serial")
    kills = repeated = other = 0
    for number in range(4):
        executor = ("serial", "processes")[number % 2]
        found = kill_study(folder / str(number), 10, seconds, number, "--executor", executor)
        kills, repeated, other = kills + found.kills, repeated + found.repeated, other + (found.answer != answer)
    return kills, repeated + other, f"kills={kills} runs repeated={repeated} other choices={other} of 4 studies"


def ray_nodes(folder):
    if not RAY:
        return 0, 0, "not tried: Ray is not installed"
    found = ray_faults.node_deaths(folder)
    text = (
        f"machines ended={found.ended} runs={found.runs} again={found.again} lost={found.lost} doubled={found.doubled}"
    )
    return found.ended, found.lost + found.doubled, text


def ray_kills(folder):
    if not RAY:
        return 0, 0, "not tried: Ray is not installed"
    found = []
    for number, attempt in enumerate((ray_faults.worker_kills, ray_faults.driver_kills)):
        (folder / str(number)).mkdir()
        found.append(attempt(folder / str(number)))
    for what in ("gcs_server", "raylet"):
        (folder / what).mkdir()
        found.append(ray_faults.cluster_ends(folder / what, what)[0])
    lost, doubled = sum(each.lost for each in found), sum(each.doubled for each in found)
    kinds = " ".join(
        f"{kind}={each.ended}" for kind, each in zip(("workers", "drivers", "gcs", "raylet"), found, strict=True)
    )
    return sum(each.ended for each in found), lost + doubled, f"{kinds} lost={lost} doubled={doubled}"


def ray_same(folder):
    if not RAY:
        return 0, 0, "not tried: Ray is not installed"
    tried, differ = ray_faults.same_records(folder)
    return tried, differ, f"records and files={tried} other={differ}"


def log_bytes(attempt, untold_in_csv):
    def row(folder):
        found = {kind: attempt(log_kit.sample(kind, 20_000), folder) for kind in log_kit.KINDS}
        bad = sum(each.bad for each in found.values()) - (
            found["csv"].untold if untold_in_csv else 0
        )  # it has no checksums
        told = "; ".join(
            f"{kind} {each.tried} wrong={each.wrong} raised={each.raised} untold={each.untold}"
            for kind, each in found.items()
        )
        return sum(each.tried for each in found.values()), bad, told

    return row


def log_mixes(folder):
    found, kinds = log_kit.mixes(folder, 1000)
    return (
        1000,
        found.bad,
        f"mixes of {len(kinds)} kinds, readings={found.tried} wrong={found.wrong} refused={found.raised}",
    )


def log_rows(folder):
    told, bad = [], 0
    for kind in ("csv", "jsonl"):
        path = folder / f"large.{kind}"
        log_kit.large(path, 10_000_000)
        (found,) = log_kit.fresh("large", str(path))
        path.unlink()
        bad += found["readings"] != 10_000_000 or found["megabytes"] > 1000
        told.append(f"{kind} {found['seconds']:.1f} s {found['megabytes']:.0f} MB")
    return 2, bad, "1e7 rows: " + "; ".join(told)


def log_strange(folder):
    log_kit.fresh("make", str(folder))
    *found, _ = log_kit.fresh("strange", str(folder))
    slowest, most = max(each["seconds"] for each in found), max(each["megabytes"] for each in found)
    bad = sum(not each["right"] for each in found) + (most > 200)
    return len(found), bad, f"wrong={bad} slowest={slowest:.2f} s, at most {most:.0f} MB"


def range_errors(folder):
    found = range_faults.end_by_errors(1000, seed=1)
    return (
        found.tried,
        found.changed + found.tried - found.ended,
        f"ended by errors of 5 kinds={found.ended} changed={found.changed}",
    )


def range_interrupts(folder):
    naive = range_faults.end_by_signals(
        500, seed=1, way=range_faults.naive, look=range_faults.Setting.values, plain=True
    )
    found = range_faults.end_by_signals(1500, seed=1)
    few = found.ended < 0.99 * found.tried  # Python itself drops one that comes in a weak reference's callback
    figure = f"interrupts={found.ended}, every third doubled, changed={found.changed}"
    told = f"{figure}; copies in a finally, of less: changed={naive.changed} of {naive.tried}"
    return found.tried, found.changed + few, told


def range_ends(folder):
    def leave(number, frame):
        raise SystemExit(number)

    with range_faults.handler(range_faults.signal.SIGTERM, leave):
        asked = range_faults.end_by_signals(100, seed=2, number=range_faults.signal.SIGTERM, raised=SystemExit)
    raised = range_faults.end_by_errors(100, seed=3, kinds=(SystemExit, MemoryError))
    killed = range_faults.end_by_kills(folder, 100, seed=4)
    found = (asked, raised, killed)
    bad = sum(each.changed + (each.ended < 0.99 * each.tried) for each in found)
    return sum(each.tried for each in found), bad, f"SIGTERM=100 raised=100 kill -9=100 changed={bad}"


def range_content(folder):
    found = range_faults.end_content(300, seed=1)
    early = found.tried - found.ended  # their losses were fewer than the one at which a signal was to come
    figure = (
        f"signals={found.ended} of {found.tried}, in ramps and confirming runs, changed or gone on={found.changed}"
    )
    return found.tried, found.changed + (early > found.tried / 4), figure


def range_losses(folder):
    tried, wrong = range_faults.end_by_losses(4)
    return tried, wrong, f"losses not finite, exploding, flat at updates 0 to 60={tried} ended late or in vain={wrong}"


def range_after(folder):
    differ = sum(
        range_faults.trained(seed, tested=True) != range_faults.trained(seed, tested=False) for seed in range(20)
    )
    return 20, differ, f"trainings of 50 updates={20} other weights={differ}"


def range_again(folder):
    tried, wrong = range_faults.compared(100, seed=1)
    return tried, wrong, f"pairs={tried} other curves or points that are no updates={wrong}"


def range_clients(folder):
    if importlib.util.find_spec("lightning") is None or importlib.util.find_spec("transformers") is None:
        return 0, 0, "not tried: Lightning or Transformers is not installed"
    from faults.range_clients import end_in_clients, left_by_lightning

    tried, bad, files = end_in_clients(folder, 100, seed=1)
    left = left_by_lightning(folder)
    figure = (
        f"Lightning=100 Transformers=100 changed={bad} files={files}; Lightning's finder leaves {len(left)} changed"
    )
    return tried, bad + files, figure


ROWS = {
    "store-kills": ("a killed writer loses and doubles nothing acknowledged", store_kills),
    "driver-kills": ("a killed driver ends in the store of one that was not", driver_kills),
    "file-kills": ("a file is whole whenever its writer is killed", file_kills),
    "store-power": ("power lost at any write loses nothing acknowledged", store_power),
    "store-room": ("a full disk is told, loses nothing, and is gone on from", store_room),
    "store-grows": ("a store costs its records and nothing more", store_grows),
    "store-writers": ("writers side by side lose nothing", store_writers),
    "store-damage": ("a damaged store is refused or right, never wrong", store_damage),
    "endings": ("however a run ends it is told, and hurts no other", run_endings),
    "memory": ("a run that takes too much memory is ended and told, and hurts no other", run_memory),
    "hangs": ("a run that hangs is ended in time with all it began", run_hangs),
    "late": ("an answer that comes after its run was given up is not taken", run_late),
    "interrupts": ("Ctrl-C once or twice loses nothing and leaves nothing", interrupts),
    "race-kills": ("a killed race makes the same decisions", race_kills),
    "ray-nodes": ("machines of a Ray cluster end, and every run is done once", ray_nodes),
    "ray-kills": ("workers, drivers and Ray end, and no record is lost", ray_kills),
    "ray-same": ("records of Ray are those of processes here", ray_same),
    "log-cuts": ("a log cut at any byte gives its whole records", log_bytes(log_kit.cut, False)),
    "log-flips": ("a damaged byte of a log costs one record and is told", log_bytes(log_kit.flip, True)),
    "log-mixes": ("runs in one log are never mixed nor counted twice", log_mixes),
    "log-rows": ("ten million rows of a log take less than 1 GB", log_rows),
    "log-strange": ("strange files are read right or refused", log_strange),
    "range-errors": ("a range test that an error ends changes nothing", range_errors),
    "range-interrupts": ("a range test under Ctrl-C, once or twice, changes nothing", range_interrupts),
    "range-ends": ("a range test that is ended from outside changes nothing", range_ends),
    "range-content": ("a range test whose handler is content ends there and changes nothing", range_content),
    "range-losses": ("a range test ends where its loss diverges", range_losses),
    "range-after": ("training after a range test is as without", range_after),
    "range-again": ("a range test repeated is the same, and its points are updates", range_again),
    "range-clients": ("range tests in Lightning and Transformers change nothing", range_clients),
    "study-kills": ("a killed study makes the same choice, no run twice", study_kills),
}


def main():
    chosen = sys.argv[1:] or list(ROWS)
    unknown = [name for name in chosen if name not in ROWS]
    if unknown:
        sys.exit(f"unknown rows {unknown}; known: {', '.join(ROWS)}.")
    latest = HERE / "latest.json"
    before = {row["promise"]: row for row in json.loads(latest.read_text())} if latest.exists() else {}
    failures = 0
    for name in chosen:
        promise, attempt = ROWS[name]
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            tried, failed, figure = attempt(Path(folder))
        failures += failed
        before[promise] = {"promise": promise, "tried": tried, "failed": failed, "figure": figure}
        print(
            f"{promise:55}{tried:>6} tried{failed:>4} failed  {figure}  ({time.monotonic() - began:.0f} s)", flush=True
        )
        latest.write_text(json.dumps([before[row] for row, _ in ROWS.values() if row in before], indent=1) + "\n")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
