package api

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"btd/api/client"
	"btd/session"
)

// chunk is how much of a list is gathered before it is written, in bytes.
const chunk = 64 << 10

// writeList writes the list of torrents piece by piece. People poll it with
// 10,000 torrents, so the torrents are encoded by hand: that takes a third of
// the time of encoding/json, with which a test compares every field.
func writeList(w http.ResponseWriter, torrents []session.Torrent) {
	extend(w)
	jsonHeader(w)
	buf := append(make([]byte, 0, chunk+4096), `{"torrents":[`...)
	for i := range torrents {
		if i > 0 {
			buf = append(buf, ',')
		}
		t := fromTorrent(&torrents[i])
		buf = appendTorrent(buf, &t)
		if len(buf) >= chunk {
			extend(w)
			if _, err := w.Write(buf); err != nil {
				return // the client has gone away
			}
			buf = buf[:0]
		}
	}
	_, _ = w.Write(append(buf, "]}\n"...))
}

// appendTorrent appends what json.Marshal makes of t.
func appendTorrent(b []byte, t *client.Torrent) []byte {
	b = appendString(append(b, `{"id":`...), t.ID)
	b = appendString(append(b, `,"name":`...), t.Name)
	b = appendString(append(b, `,"dir":`...), t.Dir)
	b = appendString(append(b, `,"state":`...), t.State)
	b = appendString(append(b, `,"error":`...), t.Error)
	b = strconv.AppendBool(append(b, `,"private":`...), t.Private)
	b = strconv.AppendBool(append(b, `,"super_seeding":`...), t.SuperSeeding)
	b = strconv.AppendBool(append(b, `,"single":`...), t.Single)

	b = strconv.AppendInt(append(b, `,"size":`...), t.Size, 10)
	b = strconv.AppendInt(append(b, `,"wanted":`...), t.Wanted, 10)
	b = strconv.AppendInt(append(b, `,"have":`...), t.Have, 10)
	b = strconv.AppendInt(append(b, `,"have_wanted":`...), t.HaveWanted, 10)
	b = appendFloat(append(b, `,"progress":`...), t.Progress)
	b = strconv.AppendInt(append(b, `,"pieces":`...), int64(t.Pieces), 10)
	b = strconv.AppendInt(append(b, `,"piece_length":`...), t.PieceLength, 10)
	b = strconv.AppendInt(append(b, `,"pieces_have":`...), int64(t.PiecesHave), 10)
	b = appendFloat(append(b, `,"checked":`...), t.Checked)

	b = strconv.AppendInt(append(b, `,"uploaded":`...), t.Uploaded, 10)
	b = strconv.AppendInt(append(b, `,"downloaded":`...), t.Downloaded, 10)
	b = strconv.AppendInt(append(b, `,"corrupt":`...), t.Corrupt, 10)
	b = strconv.AppendInt(append(b, `,"rate_up":`...), t.RateUp, 10)
	b = strconv.AppendInt(append(b, `,"rate_down":`...), t.RateDown, 10)
	b = strconv.AppendInt(append(b, `,"seconds_active":`...), t.SecondsActive, 10)
	b = strconv.AppendInt(append(b, `,"seconds_seeding":`...), t.SecondsSeeding, 10)

	if m := t.Metadata; m != nil {
		b = strconv.AppendInt(append(b, `,"metadata":{"nodes":`...), int64(m.Nodes), 10)
		b = strconv.AppendInt(append(b, `,"tried":`...), int64(m.Tried), 10)
		b = strconv.AppendInt(append(b, `,"sources":`...), int64(m.Sources), 10)
		b = strconv.AppendInt(append(b, `,"have":`...), int64(m.Have), 10)
		b = strconv.AppendInt(append(b, `,"pieces":`...), int64(m.Pieces), 10)
		b = append(strconv.AppendInt(append(b, `,"size":`...), int64(m.Size), 10), '}')
	}

	b = strconv.AppendInt(append(b, `,"peers":`...), int64(t.Peers), 10)
	b = strconv.AppendInt(append(b, `,"seeds":`...), int64(t.Seeds), 10)
	b = strconv.AppendInt(append(b, `,"peers_known":`...), int64(t.PeersKnown), 10)
	b = strconv.AppendInt(append(b, `,"swarm":{"seeds":`...), int64(t.Swarm.Seeds), 10)
	b = strconv.AppendInt(append(b, `,"leechers":`...), int64(t.Swarm.Leechers), 10)
	b = strconv.AppendInt(append(b, `,"downloads":`...), int64(t.Swarm.Downloads), 10)

	b = appendTime(append(b, `},"added":`...), t.Added)
	if !t.Completed.IsZero() {
		b = appendTime(append(b, `,"completed":`...), t.Completed)
	}
	o := &t.Options
	b = strconv.AppendBool(append(b, `,"options":{"stopped":`...), o.Stopped)
	b = strconv.AppendBool(append(b, `,"sequential":`...), o.Sequential)
	b = appendString(append(b, `,"scope":`...), o.Scope)
	b = strconv.AppendBool(append(b, `,"secret":`...), o.Secret)
	b = strconv.AppendInt(append(b, `,"limits":{"up":`...), o.Limits.Up, 10)
	b = strconv.AppendInt(append(b, `,"down":`...), o.Limits.Down, 10)
	b = appendFloat(append(b, `},"ratio_limit":`...), o.RatioLimit)
	b = strconv.AppendInt(append(b, `,"seed_time_seconds":`...), o.SeedTimeSeconds, 10)
	return append(b, "}}"...)
}

// appendString quotes s. What needs escapes is left to encoding/json.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return appendAny(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendFloat leaves numbers with an exponent to encoding/json.
func appendFloat(b []byte, f float64) []byte {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return appendAny(b, f)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

func appendTime(b []byte, t time.Time) []byte {
	if y := t.Year(); y < 0 || y > 9999 {
		return appendAny(b, time.Time{}) // RFC 3339 has no such year
	}
	b = append(b, '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendAny(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, finite numbers and times have no such error
	}
	return append(b, text...)
}
