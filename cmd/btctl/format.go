package main

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/dustin/go-humanize"

	"btd/api/client"
)

const (
	nothing = "-"
	forever = "∞"
)

// clean makes text from strangers (names, clients, messages of trackers) fit
// for a terminal: no control characters, no marks that turn the direction.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, strings.ToValidUTF8(s, "·"))
}

// cleanLines is clean for text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// escape writes what is not fit for a terminal in a JSON text as \uXXXX, which
// means the same: there such characters can be in strings only.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < unicode.MaxASCII || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func bytesText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func rateText(n int64) string {
	if n <= 0 {
		return nothing
	}
	return bytesText(n) + "/s"
}

func limitText(n int64) string {
	if n <= 0 {
		return "unlimited"
	}
	return bytesText(n) + "/s"
}

// percent never rounds up to 100.
func percent(f float64) string {
	if f >= 1 {
		return "100%"
	}
	return fmt.Sprintf("%.1f%%", math.Floor(max(f, 0)*1000)/10)
}

// doneText is how much of a torrent is here, or how much was checked.
func doneText(t client.Torrent) string {
	switch {
	case t.State == client.StateChecking:
		return percent(t.Checked)
	case t.Metadata != nil:
		return nothing
	}
	return percent(t.Progress)
}

// waitingText says what a magnet link waits for.
func waitingText(m client.Metadata) string {
	text := fmt.Sprintf("%s asked, %s tried, ", plural(m.Nodes, "node"), plural(m.Tried, "peer"))
	if m.Pieces == 0 {
		return text + "none has the metadata yet"
	}
	return text + "metadata " + percent(metadataShare(m))
}

// metadataShare is the part of the metadata that is here, 0 to 1.
func metadataShare(m client.Metadata) float64 {
	if m.Pieces <= 0 {
		return 0
	}
	return float64(m.Have) / float64(m.Pieces)
}

func ratioText(t client.Torrent) string {
	if t.Size <= 0 {
		return nothing
	}
	return fmt.Sprintf("%.2f", float64(t.Uploaded)/float64(t.Size))
}

// etaText is the time that what is missing takes at the rate of now.
func etaText(t client.Torrent) string {
	left := t.Wanted - t.HaveWanted
	switch {
	case t.State != client.StateDownloading || left <= 0:
		return nothing
	case t.RateDown <= 0:
		return forever
	}
	return secondsText(left / t.RateDown)
}

// secondsText has the two largest units: 3d4h, 4h5m, 5m6s.
func secondsText(n int64) string {
	n = max(n, 0)
	switch d, h, m, s := n/86400, n/3600%24, n/60%60, n%60; {
	case d >= 1000:
		return forever
	case d > 0:
		return fmt.Sprintf("%dd%dh", d, h)
	case h > 0:
		return fmt.Sprintf("%dh%dm", h, m)
	case m > 0:
		return fmt.Sprintf("%dm%ds", m, s)
	default:
		return fmt.Sprintf("%ds", s)
	}
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return nothing
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// countText shows a number of which -1 is unknown.
func countText(n int) string {
	if n < 0 {
		return nothing
	}
	return fmt.Sprint(n)
}

func orNothing(s string) string {
	if s == "" {
		return nothing
	}
	return clean(s)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// shortIDs are the beginnings of ids, of 8 digits or as many as it takes for
// all of them to differ.
func shortIDs(list []client.Torrent) []string {
	out := make([]string, len(list))
	for n := 8; n <= 64; n++ {
		seen := make(map[string]bool, len(list))
		for i, t := range list {
			out[i] = t.ID[:min(n, len(t.ID))]
			seen[out[i]] = true
		}
		if len(seen) == len(list) {
			break
		}
	}
	return out
}

// parseRate reads a limit in bytes per second: 5MiB/s, 500kB, 0, unlimited.
func parseRate(s string) (int64, error) {
	word := strings.TrimSuffix(strings.TrimSpace(s), "/s")
	switch strings.ToLower(word) {
	case "unlimited", "none":
		return 0, nil
	case "":
		return 0, usagef("a rate is empty: write it like 5MiB/s, or unlimited")
	}
	n, err := humanize.ParseBytes(word)
	switch {
	case strings.HasSuffix(word, "b"):
		return 0, usagef("rate %q: rates are in bytes, B with a capital, like 5MiB/s", s)
	case err != nil, n > math.MaxInt64:
		return 0, usagef("rate %q: write it like 5MiB/s, 500kB/s, or unlimited", s)
	}
	return int64(n), nil
}
