// Announces once with npm's bittorrent-tracker and scrapes, and prints what it is told, as one line of JSON.
//   node tracker_client.mjs LIBRARY URL INFOHASH PORT start|complete|stop|update LEFT
const [library, announce, infoHash, port, event, left] = process.argv.slice(2)
const { default: Client } = await import(library)

const peerId = Buffer.from('-NP0001-' + port.padStart(12, '0')).toString('hex')
const client = new Client({ infoHash, announce: [announce], peerId, port: Number(port) })
const out = { peers: [] }
for (const t of client._trackers) {
  t.setInterval = ms => { out.interval = ms / 1000 } // it would announce again then
}

function end (code) {
  out.peers.sort()
  console.log(JSON.stringify(out))
  process.exit(code)
}
function fail (err) {
  out.error = String(err.message ?? err)
  end(0)
}
setTimeout(() => fail(new Error('no answer for 30 s')), 30_000).unref()
client.on('error', fail)
client.on('warning', fail)
client.on('peer', p => out.peers.push(String(p)))
client.once('update', a => {
  out.complete = a.complete
  out.incomplete = a.incomplete
  client.once('scrape', s => {
    out.scrape = { complete: s.complete, incomplete: s.incomplete, downloaded: s.downloaded }
    end(0)
  })
  // The peers of an answer are told right after it.
  setImmediate(() => client.scrape())
})
client[event]({ left: Number(left), uploaded: 0, downloaded: 0, numwant: 50 })
