"""Runs the harness (bench.py of the current folder) with more than it measures by itself:

- recheck: the peak of anonymous memory;
- many: context switches a second while idle;
- the memory that the harness touches before every run is held until the clients are up (ballast.py);
- a client called "limit" for recheck: no client, but what the machine can do, measured by the harness's own `limits`
  ("pread 1 MiB warm + sha1, 2 goroutines") in turn with the clients;
- BENCH_PERF=FILE: btd under `perf record`.

    /usr/bin/python3 drive.py run recheck --clients btd,limit
"""
import glob
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.getcwd())
import bench  # noqa: E402
import clients  # noqa: E402
import common  # noqa: E402
from ballast import Ballast  # noqa: E402


class Limit(clients.Client):
    """What two goroutines reach that read pieces from the page cache and hash them."""
    name = 'limit'
    settings = 'limits: pread 1 MiB warm + sha1, 2 goroutines'
    can_swarm = False

    def recheck(self, t, datadir):
        medium = next(m for m, root in bench.MEDIA.items() if t.src.startswith(root + os.sep))
        for root in bench.MEDIA.values():
            os.makedirs(root, exist_ok=True)
        name = 'pread 1 MiB warm + sha1, 2 goroutines, ' + medium
        self.spawn([os.path.join(clients.GOBIN, 'limits'), '-disk', bench.MEDIA['disk'], '-shm', bench.MEDIA['shm'],
                    '-reps', '1', '-mib', str(t.size >> 20)], env={'LIMITS_ONLY': name}, stdout=subprocess.PIPE)
        said = json.loads(self.proc.communicate(timeout=300)[0])
        self.row = next(r for r in said['results'] if r['name'] == name)
        self.version = said['go']
        return self.row['wall_s']

    def cpu_since_mark(self):
        gib = self.row['mib_s'] * self.row['wall_s'] / 1024
        return self.row['user_s_per_gib'] * gib, self.row['sys_s_per_gib'] * gib


def switches(pid):
    """Context switches of all threads of a process so far."""
    n = 0
    for path in glob.glob('/proc/%d/task/*/status' % pid):
        with open(path) as f:
            n += sum(int(line.split()[1]) for line in f if 'voluntary_ctxt_switches' in line)
    return n


def recheck(cls, root, t, plain=bench.run_recheck):
    watchers = []

    class Watched(cls):
        def mark(self):
            if self.proc is not None:
                watchers.append(common.Sampler(self.proc.pid))
            return super().mark()
    try:
        r = plain(Watched, root, t)
    finally:
        peaks = [w.finish()['anon_peak_mib'] for w in watchers]
    if peaks:
        r['anon_peak_mib'] = max(peaks)
    return r


def many(cls, root, src, ts, idle_s=20, plain=bench.run_many):
    seen = []                       # at every look at the CPU: the last two are around the idle time

    def cpu_s(pid):
        seen.append((time.monotonic(), switches(pid)))
        return common.cpu_s(pid)
    bench.cpu_s = cpu_s
    r = plain(cls, root, src, ts, idle_s)
    (t0, n0), (t1, n1) = seen[-2:]
    r['switches_per_s'] = (n1 - n0) / (t1 - t0)
    return r


def mem_kib(pid):
    """A process that has ended has no memory, and may have no entry either."""
    try:
        return common.mem_kib(pid)
    except OSError:
        return {}


def profiled(cls, path):
    """The client with perf looking at it in the part that is measured."""
    class Profiled(cls):
        perf = None

        def mark(self):
            if self.perf is None:
                self.perf = subprocess.Popen(['perf', 'record', '-q', '-F', '1999', '-o', path, '-p', str(self.proc.pid)],
                                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                common.wait_for(lambda: os.path.exists(path), 10, 0.05, 'perf')
                time.sleep(0.5)                     # until it has found every thread
            return super().mark()

        def stop(self, graceful=False):
            super().stop(graceful)
            if self.perf is not None:
                self.perf.wait(60)                  # it ends with the client
                self.perf = None
    return Profiled


def hold_memory():
    """Replaces the harness's way to touch memory, for all clients."""
    ballast = Ballast(bench.MEDIA['shm'])

    def mark(self, plain=clients.Client.mark):
        ballast.drop()
        return plain(self)

    def store(scn, medium, rec, plain=bench.store):
        if ballast.new_page is not None:
            rec['new_page_s_per_gib'] = round(ballast.new_page, 4)
        ballast.end()
        plain(scn, medium, rec)
    clients.Client.mark, bench.store = mark, store
    bench.warm_memory = lambda gib, quiet=False: ballast.load(gib)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # so that every client is stopped
    clients.CLIENTS[Limit.name] = Limit
    if os.environ.get('BENCH_PERF'):
        clients.CLIENTS['btd'] = profiled(clients.CLIENTS['btd'], os.environ['BENCH_PERF'])
    bench.run_recheck, bench.run_many, bench.mem_kib = recheck, many, mem_kib
    hold_memory()
    bench.report = lambda *a, **kw: None          # report.py does that
    bench.main()


if __name__ == '__main__':
    main()
