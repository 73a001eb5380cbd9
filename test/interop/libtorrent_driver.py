"""libtorrent driven over stdin and stdout, one JSON object per line.

usage: libtorrent_driver.py SETTINGS

SETTINGS are libtorrent's own, as a JSON object.

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
    | lt.alert.category_t.peer_notification | lt.alert.category_t.dht_notification,
}


def value(a):
    """the text of an item that was found, None if none was"""
    try:
        return a.item['value'].decode()
    except RuntimeError:
        return None


def event(a):
    """what an alert says of the end of a put or a get, in a list; an empty one for other alerts"""
    if isinstance(a, lt.dht_put_alert):
        return [{'kind': 'put', 'stored': a.num_success, 'seq': a.seq}]
    if isinstance(a, lt.dht_immutable_item_alert):
        return [{'kind': 'immutable', 'value': value(a)}]
    if isinstance(a, lt.dht_mutable_item_alert) and a.authoritative:    # the newest one that anybody has
        return [{'kind': 'mutable', 'seq': a.seq, 'value': value(a)}]
    return []


def main():
    settings = dict(SETTINGS, **json.loads(sys.argv[1]), user_agent='libtorrent/' + lt.__version__)
    session = lt.session(settings)
    handles = {}
    events = []

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

    def dht(c):
        return {'nodes': session.status().dht_nodes, 'events': events}    # events: of all puts and gets, in order

    def node(c):
        session.add_dht_node((c['ip'], c['port']))
        return {}

    def put_immutable(c):
        return {'target': str(session.dht_put_immutable_item(c['value'].encode()))}

    def get_immutable(c):
        session.dht_get_immutable_item(lt.sha1_hash(bytes.fromhex(c['target'])))
        return {}

    def put_mutable(c):
        session.dht_put_mutable_item(bytes.fromhex(c['private']), bytes.fromhex(c['public']), c['value'].encode(), c['salt'].encode())
        return {}

    def get_mutable(c):
        session.dht_get_mutable_item(bytes.fromhex(c['public']), c['salt'].encode())
        return {}

    def stop(c):
        session.pause()
        return {}

    ops = {'add': add, 'status': status, 'connect': connect, 'stop': stop, 'dht': dht, 'node': node,
           'put_immutable': put_immutable, 'get_immutable': get_immutable, 'put_mutable': put_mutable, 'get_mutable': get_mutable}
    for line in sys.stdin:
        c = json.loads(line)
        for a in session.pop_alerts():
            print(a.message(), file=sys.stderr, flush=True)
            events.extend(event(a))
        try:
            answer = ops[c['op']](c)
        except Exception as e:    # the test shows it
            answer = {'error': '%s: %s' % (type(e).__name__, e)}
        sys.stdout.write(json.dumps(answer) + '\n')
        sys.stdout.flush()


main()
