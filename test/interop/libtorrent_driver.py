"""libtorrent driven over stdin and stdout, one JSON object per line.

usage: libtorrent_driver.py LISTEN_INTERFACES [LSD]

With LSD, "true" or "false", it looks for peers in the local network.

Every request has a field "op"; every answer is one line, with a field "error" when the request failed.
Ends when stdin does.
"""
import json
import sys

import libtorrent as lt

SETTINGS = {
    'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
    # encryption and uTP are left at their defaults, as people have them: tried where the other side can
    'ssrf_mitigation': False, 'allow_multiple_connections_per_ip': True,
    'announce_to_all_trackers': True, 'announce_to_all_tiers': True,
    'alert_mask': lt.alert.category_t.error_notification | lt.alert.category_t.tracker_notification
    | lt.alert.category_t.peer_notification,
}


def main():
    settings = dict(SETTINGS, listen_interfaces=sys.argv[1], user_agent='libtorrent/' + lt.__version__)
    settings['enable_lsd'] = sys.argv[2:3] == ['true']
    session = lt.session(settings)
    handles = {}

    def add(c):
        if c.get('magnet'):
            p = lt.parse_magnet_uri(c['magnet'])
        else:
            p = lt.add_torrent_params()
            p.ti = lt.torrent_info(c['torrent'])
        p.save_path = c['dir']
        p.flags &= ~lt.torrent_flags.auto_managed
        p.flags &= ~lt.torrent_flags.paused
        h = session.add_torrent(p)
        if c.get('up_limit'):
            h.set_upload_limit(c['up_limit'])
        handles[str(h.info_hash())] = h
        return {}

    def status(c):
        s = handles[c['hash']].status()
        return {'state': str(s.state), 'progress': s.progress, 'seeding': s.is_seeding, 'peers': s.num_peers,
                'up': s.total_payload_upload, 'down': s.total_payload_download, 'failed': s.total_failed_bytes,
                'errc': s.errc.message() if s.errc.value() else ''}

    def connect(c):
        handles[c['hash']].connect_peer((c['ip'], c['port']))
        return {}

    def stop(c):
        session.pause()
        return {}

    ops = {'add': add, 'status': status, 'connect': connect, 'stop': stop}
    for line in sys.stdin:
        c = json.loads(line)
        for a in session.pop_alerts():
            print(a.message(), file=sys.stderr, flush=True)
        try:
            answer = ops[c['op']](c)
        except Exception as e:    # the test shows it
            answer = {'error': '%s: %s' % (type(e).__name__, e)}
        sys.stdout.write(json.dumps(answer) + '\n')
        sys.stdout.flush()


main()
