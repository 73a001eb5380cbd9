"""btd for the side-by-side benchmark: BENCH_ADAPTERS=test/bench/btd_adapter.py, BENCH_BTD=path of the binary.

btd runs with its shipped defaults; only its addresses and directories are set. It is driven through its HTTP API on
the unix socket.
"""
import base64
import http.client
import json
import os
import socket
import threading
import time

from clients import Client
from common import wait_for


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__('btd', timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Btd(Client):
    name = 'btd'
    settings = 'btd with its defaults; only addresses and directories set'
    can_many = True

    def start(self):
        # A unix socket's path has at most 107 bytes: keep it short whatever the work directory is called.
        self.sock = os.path.join(self.work, 'api.sock')
        if len(self.sock) > 100:
            self.sock = '/tmp/btd-bench-%d-%d.sock' % (os.getpid(), self.port)
        state = os.path.join(self.work, 'state')
        os.makedirs(state, exist_ok=True)
        config = os.path.join(self.work, 'none.toml')
        open(config, 'w').close()          # nobody's configuration but the shipped one
        self.conn = None
        self.spawn([os.environ.get('BENCH_BTD', 'btd'), '--state', state, '--dir', self.work, '--config', config,
                    '--listen', '%s:%d' % (self.ip, self.port), '--api-socket', self.sock,
                    '--log-level', 'warn'])
        wait_for(self._up, 40, 0.02, 'btd api')

    def _up(self):
        self.alive()
        try:
            self.version = self.call('GET', '/v1/session/version')['version']
            return True
        except (OSError, http.client.HTTPException):
            return False

    def call(self, method, path, body=None):
        """One request on a connection that is kept; a new one if the old one has gone."""
        data = None if body is None else json.dumps(body)
        for again in (True, False):
            if self.conn is None:
                self.conn = _UnixConnection(self.sock)
            try:
                self.conn.request(method, path, data, {'Content-Type': 'application/json'} if data else {})
                r = self.conn.getresponse()
                raw = r.read()
                break
            except (OSError, http.client.HTTPException):
                self.conn.close()
                self.conn = None
                if not again:
                    raise
        if r.status // 100 != 2:
            raise RuntimeError('btd: %s %s: %d %s' % (method, path, r.status, raw[:300]))
        return json.loads(raw) if raw.strip() else {}

    def _get(self, t):
        return self.call('GET', '/v1/torrents/' + t.infohash.hex())

    def leech(self, t, dest):
        with open(t.path, 'rb') as f:
            self.call('POST', '/v1/torrents', {'torrent': base64.b64encode(f.read()).decode(), 'dir': dest})

    def seed(self, t, datadir):
        self.leech(t, datadir)
        wait_for(lambda: self.done(t), 120)

    def done(self, t):
        self.alive()
        g = self._get(t)
        if g['state'] == 'error':
            raise RuntimeError('btd: ' + g['error'])
        return g['state'] == 'seeding' and g['pieces_have'] == g['pieces']

    def uploaded(self, t):
        return self._get(t)['uploaded']

    def recheck(self, t, datadir):
        self.seed(t, datadir)
        t0 = self.mark()
        self.call('POST', '/v1/torrents/%s/verify' % t.infohash.hex())
        seen = []

        def fin():
            g = self._get(t)
            if g['state'] == 'checking' or g['pieces_have'] < g['pieces']:
                seen.append(1)
            return g['state'] == 'seeding' and (bool(seen) or time.monotonic() - t0 > 30)
        wait_for(fin, 300, 0.01)
        return time.monotonic() - t0

    def add_many(self, ts):
        """Adds over a few connections at a time: each answer waits for the disk, and what waits together is written
        together."""
        todo, failed = list(reversed(ts)), []

        def work():
            conn = _UnixConnection(self.sock)
            try:
                while not failed:
                    t = todo.pop()
                    with open(t.path, 'rb') as f:
                        data = json.dumps({'torrent': base64.b64encode(f.read()).decode(), 'dir': t.src})
                    conn.request('POST', '/v1/torrents', data, {'Content-Type': 'application/json'})
                    r = conn.getresponse()
                    raw = r.read()
                    if r.status != 201:
                        raise RuntimeError('btd: add: %d %s' % (r.status, raw[:300]))
            except IndexError:
                pass                       # nothing is left to do
            except Exception as e:         # told by the caller
                failed.append(e)
            finally:
                conn.close()
        threads = [threading.Thread(target=work) for _ in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if failed:
            raise failed[0]

    def count_seeding(self):
        n = self.call('GET', '/v1/session/stats')['torrents']
        return n.get('seeding', 0)

    def stop(self, graceful=False):
        if getattr(self, 'conn', None) is not None:
            self.conn.close()
            self.conn = None
        super().stop(graceful)
        if getattr(self, 'sock', '').startswith('/tmp/btd-bench-') and os.path.exists(self.sock):
            os.unlink(self.sock)
