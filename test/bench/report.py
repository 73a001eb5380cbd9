#!/usr/bin/env python3
"""Prints what test/bench/run.sh measured: a table for every row, and how it stands against the bar.

    report.py FOLDER            of *.json: those of the harness, those of test/bench/load, and machine.json
    report.py --failed FOLDER   only the runs in which btd failed; the exit status tells whether there are any

Every figure is the median of the runs that went through, with the range in brackets. A ratio is btd divided by the
client of the line: of time and of CPU, below 1.00 btd needs less. Ratios are of medians of the same run.
"""
import json
import os
import sys


def median(xs):
    xs = sorted(xs)
    n = len(xs)
    return xs[n // 2] if n % 2 else (xs[n // 2 - 1] + xs[n // 2]) / 2


def fmt(x, nd):
    return '-' if x is None else '%.*f' % (nd, x)


class Results:
    """All runs of a folder, by row and client."""

    def __init__(self, folder):
        self.rows, self.machine = {}, {}
        for name in sorted(os.listdir(folder)):
            if not name.endswith('.json'):
                continue
            with open(os.path.join(folder, name)) as f:
                data = json.load(f)
            if name == 'machine.json':
                self.machine = data
            elif isinstance(data, dict) and 'runs' in data:
                self.rows[name[:-5]] = data['runs']

    def clients(self, row):
        return list(dict.fromkeys(r['client'] for r in self.rows.get(row, [])))

    def good(self, row, client):
        return [r for r in self.rows.get(row, []) if r['client'] == client and 'error' not in r]

    def errors(self, row, client):
        return [r['error'] for r in self.rows.get(row, []) if r['client'] == client and 'error' in r]

    def values(self, row, client, key):
        return [r[key] for r in self.good(row, client) if r.get(key) is not None]

    def median(self, row, client, key):
        v = self.values(row, client, key)
        return median(v) if v else None

    def cell(self, row, client, key, nd):
        v = self.values(row, client, key)
        if not v:
            return '-'
        if len(v) == 1:
            return fmt(v[0], nd)
        return '%s (%s-%s)' % (fmt(median(v), nd), fmt(min(v), nd), fmt(max(v), nd))


TRANSFER = [('wall_s', 'wall s', 2), ('mib_s', 'MiB/s', 0), ('cpu_s_per_gib', 'CPU s/GiB', 2),
            ('first_byte_s', 'first byte s', 2), ('anon_peak_mib', 'peak anon MiB', 0), ('rss_peak_mib', 'peak RSS MiB', 0)]
RECHECK = [('wall_s', 'wall s', 2), ('mib_s', 'MiB/s', 0), ('cpu_s_per_gib', 'CPU s/GiB', 2),
           ('anon_peak_mib', 'peak anon MiB', 0), ('rss_peak_mib', 'peak RSS MiB', 0)]
SWARM = [('wall_s', 'last done s', 2), ('first_done_s', 'first done s', 2), ('cpu_total_s', 'CPU s, all seven', 2),
         ('seed_ratio', 'first seed sent / size', 2), ('anon_peak_mib', 'peak anon MiB', 0)]
MANY = [('add_to_seeding_s', 'add to all seeding s', 2), ('restart_api_s', 'restart: API s', 2),
        ('restart_all_seeding_s', 'restart: all seeding s', 2), ('idle_cpu_pct', 'idle CPU %', 3),
        ('switches_per_s', 'context switches/s', 1), ('rss_mib', 'RSS MiB', 0), ('anon_mib', 'anon MiB', 0)]
IDLE = [('add_s', 'add s', 2), ('add_to_seeding_s', 'all seeding s', 2), ('restart_api_s', 'restart: API s', 3),
        ('restart_all_seeding_s', 'all seeding s', 3), ('idle_cpu_pct', 'idle CPU %', 3),
        ('switches_per_s', 'context switches/s', 1), ('rss_mib', 'RSS MiB', 0), ('rss_after_ls_mib', 'after ls', 0),
        ('rss_peak_add_mib', 'peak while adding', 0), ('ls_p50_ms', 'ls p50 ms', 1), ('ls_p99_ms', 'ls p99 ms', 1)]
IDLE2 = [('serve_n', 'torrents asked', 0), ('serve_failed', 'failed', 0), ('serve_p50_ms', 'block p50 ms', 1),
         ('serve_max_ms', 'max ms', 1), ('started', 'first announces', 0), ('started_due', 'due at least', 0),
         ('started_again', 'twice', 0), ('periodic', 'later announces', 0), ('early', 'too early', 0), ('late', 'too late', 0),
         ('overdue', 'missing', 0), ('worst_late_s', 'latest, s over the interval', 1)]
FIRST = [('n', 'times each', 0), ('single_p50_ms', 'one file: p50 ms', 1), ('single_max_ms', 'max ms', 1),
         ('files_p50_ms', '10,000 files: p50 ms', 1), ('files_max_ms', 'max ms', 1)]
API = [('rate', 'requests/s', 0), ('answered', 'answered', 0), ('failed', 'failed', 0), ('p50_ms', 'p50 ms', 2),
       ('p99_ms', 'p99 ms', 1), ('p999_ms', 'p99.9 ms', 1), ('max_ms', 'max ms', 1), ('lag_p50_ms', 'of it ours: p50 ms', 2),
       ('lag_p999_ms', 'p99.9 ms', 1), ('alone_down_mib_s', 'down alone MiB/s', 0), ('loaded_down_mib_s', 'loaded', 0),
       ('alone_up_mib_s', 'up alone MiB/s', 0), ('loaded_up_mib_s', 'loaded', 0)]
API2 = [('%s_%s_ms' % (k, q), '%s %s ms' % (k, n), 1) for k in ('ls', 'torrent', 'peers', 'stats', 'limit')
        for q, n in (('p50', 'p50'), ('p999', 'p99.9'))]
TRACKER = [('fill_per_s', 'new peers/s', 0), ('udp_per_s', 'UDP announces/s', 0), ('udp_us', 'CPU us each', 2),
           ('http_per_s', 'HTTP, a connection each', 0), ('http_us', 'CPU us each', 1), ('keep_per_s', 'HTTP, kept alive', 0),
           ('keep_us', 'CPU us each', 1), ('rss_mib', 'RSS MiB, all peers', 0), ('peak_rss_mib', 'peak RSS MiB', 0)]

# Rows in the order of the report: title, columns, and what ratios are of (time, CPU).
WALL_CPU = ('wall_s', 'cpu_s_per_gib')
ROWS = [
    ('leech-ref-shm', 'Download from the reference seed, tmpfs', [TRANSFER], WALL_CPU),
    ('leech-ref-disk', 'Download from the reference seed, disk', [TRANSFER], WALL_CPU),
    ('leech-shm', 'Download from a tuned libtorrent seed, tmpfs', [TRANSFER], WALL_CPU),
    ('leech-disk', 'Download from a tuned libtorrent seed, disk', [TRANSFER], WALL_CPU),
    ('seed-ref-shm', 'Upload to the reference leecher, tmpfs', [TRANSFER], WALL_CPU),
    ('seed-ref-disk', 'Upload to the reference leecher, disk', [TRANSFER], WALL_CPU),
    ('seed-shm', 'Upload to a tuned libtorrent leecher, tmpfs', [TRANSFER], WALL_CPU),
    ('seed-disk', 'Upload to a tuned libtorrent leecher, disk', [TRANSFER], WALL_CPU),
    ('recheck-shm', 'Recheck, page cache warm, tmpfs', [RECHECK], WALL_CPU),
    ('recheck-disk', 'Recheck, page cache warm, disk', [RECHECK], WALL_CPU),
    ('swarm-shm', 'One seed and six leechers of one kind', [SWARM], ('wall_s', 'cpu_total_s')),
    ('files-shm', '10,000 files from a tuned libtorrent seed', [TRANSFER], WALL_CPU),
    ('many-disk', 'Many torrents: add, restart, idle', [MANY], ('restart_all_seeding_s', 'idle_cpu_pct')),
    ('many-shm', 'Many torrents: add, restart, idle', [MANY], ('restart_all_seeding_s', 'idle_cpu_pct')),
    ('tracker', 'The tracker: a million peers announce, ten for each torrent', [TRACKER], None),
    ('firstbyte', 'First payload byte after the POST that adds a torrent', [FIRST], None),
    ('api', 'The API beside transfers at full speed; latency from the moment a request was due', [API, API2], None),
]
PARTS = {'restart_all_seeding_s': 'restart', 'idle_cpu_pct': 'idle CPU', 'wall_s': 'time'}


def table(head, lines, words=1):
    """A Markdown table; the first columns hold words."""
    width = [max(len(str(x[i])) for x in [head] + lines) for i in range(len(head))]
    out = ['| ' + ' | '.join(str(c).ljust(w) for c, w in zip(head, width)) + ' |', '|' + '|'.join('-' * (w + 2) for w in width) + '|']
    out += ['| ' + ' | '.join(str(c).ljust(w) if i < words else str(c).rjust(w) for i, (c, w) in enumerate(zip(x, width))) + ' |'
            for x in lines]
    return '\n'.join(out)


def order(res, row, key):
    """btd first, then by the figure that counts; who has none last."""
    def rank(c):
        m = res.median(row, c, key)
        return (c != 'btd', m is None, m or 0)
    return sorted(res.clients(row), key=rank)


def show(res, row, title, parts, ratio):
    runs = res.rows.get(row)
    if not runs:
        return
    what = next((r['what'] for r in runs if r.get('what')), '')
    print('\n### %s%s (%s)\n' % (title, ', ' + what if what else '', row))
    for columns in parts:
        head, lines = ['client', 'n'] + [h for _, h, _ in columns], []
        head += ['btd / it: ' + PARTS.get(k, 'CPU') for k in ratio or ()]
        for c in order(res, row, (ratio or [columns[0][0]])[0]):
            n = len(res.good(row, c))
            line = [c, n if n else 'failed'] + [res.cell(row, c, k, nd) for k, _, nd in columns]
            for k in ratio or ():
                mine, its = res.median(row, 'btd', k), res.median(row, c, k)
                line.append('' if c == 'btd' else '-' if mine is None or not its else '%.2f' % (mine / its))
            lines.append(line)
        print(table(head, lines))
        print()
    for c in res.clients(row):
        for e in res.errors(row, c):
            print('%s failed: %s' % (c, e.strip().splitlines()[-1][:300]))


class Bar:
    """Collects the lines of the summary."""

    def __init__(self, res):
        self.res, self.lines = res, []

    def line(self, row, demand, shown, ok):
        n = len(self.res.good(row, 'btd'))
        verdict = 'not measured' if ok is None else 'met' if ok else 'NOT MET'
        self.lines.append([row, demand, shown, n, verdict])

    def against(self, row, what, key, sign, factor, rival, nd=2):
        """btd against a multiple of a rival's figure."""
        mine, its = self.res.median(row, 'btd', key), self.res.median(row, rival, key)
        demand = '%s %s %.2f x %s' % (what, sign, factor, rival)
        shown = '%s to %s' % (fmt(mine, nd), fmt(its, nd))
        if mine is None or its is None:
            return self.line(row, demand, shown, None)
        ok = mine >= factor * its if sign == '>=' else mine <= factor * its
        self.line(row, demand, '%.2f x (%s)' % (mine / its, shown) if its else shown, ok)

    def below(self, row, what, key, limit, unit, nd=2, strict=False):
        """btd against a fixed limit."""
        mine = self.res.median(row, 'btd', key)
        demand = ('%s %s %g %s' % (what, '<' if strict else '<=', limit, unit)).strip()
        self.line(row, demand, ('%s %s' % (fmt(mine, nd), unit)).strip(),
                  None if mine is None else mine < limit if strict else mine <= limit)

    def rival_or(self, row, what, key, rival, limit, unit, nd=2):
        """btd against a rival where it was measured in the same run, else against the figure it once had."""
        if self.res.median(row, rival, key) is not None:
            self.against(row, what, key, '<=', 1, rival, nd)
        else:
            self.below(row, what + ' (%s not measured)' % rival, key, limit, unit, nd)

    def always(self, row, demand, shown, is_so):
        """What has to be so in every run."""
        runs = self.res.good(row, 'btd')
        self.line(row, demand, '; '.join(shown(r) for r in runs) or '-', all(is_so(r) for r in runs) if runs else None)


def bar(res):
    b = Bar(res)
    for row in ('leech-ref-shm', 'leech-ref-disk'):
        b.against(row, 'throughput', 'mib_s', '>=', 1.25, 'libtorrent-tuned', 0)
        b.against(row, 'CPU', 'cpu_s_per_gib', '<=', 0.85, 'aria2')
        b.against(row, 'CPU', 'cpu_s_per_gib', '<=', 0.75, 'libtorrent-tuned')
        b.below(row, 'peak anonymous memory', 'anon_peak_mib', 48, 'MiB', 1)
    b.against('seed-ref-shm', 'throughput', 'mib_s', '>=', 1, 'rtorrent', 0)
    b.against('seed-ref-shm', 'CPU', 'cpu_s_per_gib', '<=', 0.8, 'rtorrent')
    b.below('seed-ref-shm', 'peak anonymous memory', 'anon_peak_mib', 32, 'MiB', 1)
    for row in ('recheck-shm', 'recheck-disk'):
        b.against(row, 'throughput', 'mib_s', '>=', 1.7, 'rtorrent', 0)
        b.against(row, 'throughput', 'mib_s', '>=', 0.9, 'limit', 0)
        b.against(row, 'CPU', 'cpu_s_per_gib', '<=', 1.1, 'limit')
        b.below(row, 'peak resident memory', 'rss_peak_mib', 32, 'MiB', 1)
    b.against('swarm-shm', 'last done', 'wall_s', '<=', 0.85, 'rtorrent')
    for rival in ('rtorrent', 'aria2'):
        b.against('swarm-shm', 'CPU of all', 'cpu_total_s', '<=', 0.85, rival)
    b.below('swarm-shm', 'the first seed sends', 'seed_ratio', 1.3, 'x the content')
    b.against('files-shm', 'time', 'wall_s', '<=', 1, 'libtorrent')
    b.against('files-shm', 'CPU', 'cpu_s_per_gib', '<=', 1, 'libtorrent')
    many = 'many-shm' if 'many-shm' in res.rows and 'many-disk' not in res.rows else 'many-disk'
    b.rival_or(many, 'restart to all seeding', 'restart_all_seeding_s', 'transmission', 0.3, 's', 3)
    b.rival_or(many, 'adding all', 'add_to_seeding_s', 'libtorrent', 1.6, 's')
    b.rival_or(many, 'idle CPU', 'idle_cpu_pct', 'rtorrent', 0.15, '%', 3)
    b.below(many, 'RSS', 'rss_mib', 40, 'MiB', 1)
    idle(b)
    b.against('tracker', 'UDP announces/s', 'udp_per_s', '>=', 0.5, 'opentracker', 0)
    b.always('tracker', 'at least 100,000 UDP announces/s', lambda r: '%.0f' % r['udp_per_s'], lambda r: r['udp_per_s'] >= 100000)
    b.against('tracker', 'HTTP announces/s, a connection each', 'http_per_s', '>=', 0.5, 'opentracker', 0)
    b.below('tracker', 'RSS with all peers', 'rss_mib', 500, 'MiB', 0)
    b.below('firstbyte', 'first byte, one file', 'single_p50_ms', 50, 'ms', 1)
    b.below('firstbyte', 'first byte, 10,000 files', 'files_p50_ms', 50, 'ms', 1)
    b.below('api', '99.9 % of answers', 'p999_ms', 300, 'ms', 1, strict=True)
    b.below('api', 'half of the answers', 'p50_ms', 3, 'ms', strict=True)
    b.below('api', 'failed requests', 'failed', 0, '', 0)
    return b


def idle(b):
    b.below('idle-10000', 'API ready', 'restart_api_s', 1, 's', 3)
    b.below('idle-10000', 'ls p99', 'ls_p99_ms', 50, 'ms', 1)
    b.below('idle-10000', 'idle CPU', 'idle_cpu_pct', 0.5, '% of a core', 3)
    b.below('idle-10000', 'RSS', 'rss_mib', 120, 'MiB', 0)
    b.below('idle-100000', 'API ready', 'restart_api_s', 5, 's', 3)
    b.below('idle-100000', 'idle CPU', 'idle_cpu_pct', 3, '% of a core', 3)
    b.below('idle-100000', 'RSS', 'rss_mib', 1024, 'MiB', 0)
    for row in idle_rows(b.res):
        b.always(row, 'picked torrents serve a block in <= 200 ms', lambda r: '%d of %d, max %.1f ms' % (
            r['serve_n'], r['serve_n'] + r['serve_failed'], r['serve_max_ms']),
            lambda r: r['serve_failed'] == 0 and 0 < r['serve_max_ms'] <= 200)
        for key, name in (('add_', 'first start'), ('', 'restart')):
            b.always(row, 'every announce due was made, ' + name, lambda r, k=key: '%d first (%d due), %d later; %d wrong' % (
                r[k + 'started'], r[k + 'started_due'], r[k + 'periodic'],
                r[k + 'started_again'] + r[k + 'early'] + r[k + 'late'] + r[k + 'overdue']), lambda r, k=key: r[k + 'announces_ok'])


def idle_rows(res):
    return sorted((r for r in res.rows if r.startswith('idle-')), key=lambda r: int(r[5:]))


def head(res):
    for key, value in res.machine.items():
        print('- %s: %s' % (key, value))
    versions = {}
    for runs in res.rows.values():
        for r in runs:
            if r.get('version'):
                versions.setdefault(r['client'], r['version'])
    names = ['%s %s' % (c, v) for c, v in sorted(versions.items()) if c != 'limit']
    if names:
        print('- clients: ' + ', '.join(names))
    pages = [r['new_page_s_per_gib'] for runs in res.rows.values() for r in runs if r.get('new_page_s_per_gib') is not None]
    if pages:
        print('- new pages of tmpfs when a run began: %.2f (%.2f-%.2f) CPU s/GiB' % (median(pages), min(pages), max(pages)))
    print('\nMedian (range) of n runs, clients taking turns. "btd / it" below 1.00: btd needs less.')


def main():
    if len(sys.argv) == 3 and sys.argv[1] == '--failed':
        res = Results(sys.argv[2])
        bad = [(row, e) for row in res.rows for e in res.errors(row, 'btd')]
        for row, e in bad:
            print('bench: btd failed in %s: %s' % (row, e.strip().splitlines()[-1]))
        sys.exit(1 if bad else 0)
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    res = Results(sys.argv[1])
    if not res.rows:
        sys.exit('report: nothing was measured')
    head(res)
    rows = list(ROWS)
    at = next(i for i, r in enumerate(rows) if r[0] == 'firstbyte')
    rows[at:at] = [(r, '{:,} idle seeding torrents'.format(int(r[5:])), [IDLE, IDLE2], None) for r in idle_rows(res)]
    for row in rows:
        show(res, *row)
    b = bar(res)
    measured = set(res.rows)
    lines = [x for x in b.lines if x[0] in measured]
    left = sorted({x[0] for x in b.lines} - measured)
    print('\n### The bar\n')
    print(table(['row', 'demand', 'measured', 'n', 'verdict'], lines, 3))
    count = {v: sum(x[4] == v for x in lines) for v in ('met', 'NOT MET', 'not measured')}
    print('\n%d met, %d not met, %d without a rival to compare with%s.' % (
        count['met'], count['NOT MET'], count['not measured'], '; rows not run: ' + ', '.join(left) if left else ''))


if __name__ == '__main__':
    main()
