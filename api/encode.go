package api

import (
	"encoding/json"
	"net/http"

	"btd/session"
)

// chunk is how much of a list is gathered before it is written, in bytes.
const chunk = 64 << 10

// writeList writes the list of torrents piece by piece.
func writeList(w http.ResponseWriter, torrents []session.Torrent) {
	extend(w)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	buf := append(make([]byte, 0, chunk+4096), `{"torrents":[`...)
	for i := range torrents {
		if i > 0 {
			buf = append(buf, ',')
		}
		b, _ := json.Marshal(fromTorrent(&torrents[i]))
		buf = append(buf, b...)
		if len(buf) >= chunk {
			extend(w)
			if _, err := w.Write(buf); err != nil {
				return
			}
			buf = buf[:0]
		}
	}
	_, _ = w.Write(append(buf, "]}\n"...))
}
