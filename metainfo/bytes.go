package metainfo

import "strconv"

// Bytes is a .torrent file that Parse reads back as m: the info dictionary
// byte for byte as it was, and what else m holds. Keys that Parse does not
// know are not in it, and neither are the piece layers of a hybrid.
func (m *Metainfo) Bytes() []byte { return m.file(m.Private) }

// file is Bytes. private puts that flag outside of info as well, where it does
// not change the info-hash: it may have stood there alone.
func (m *Metainfo) file(private bool) []byte {
	b := make([]byte, 0, len(m.Raw)+4096)
	b = append(b, 'd')
	if len(m.Trackers) > 0 && len(m.Trackers[0]) > 0 {
		b = appendText(b, "announce", m.Trackers[0][0])
	}
	if len(m.Trackers) > 1 || len(m.Trackers) == 1 && len(m.Trackers[0]) > 1 {
		b = appendKey(b, "announce-list", 'l')
		for _, tier := range m.Trackers {
			b = appendList(b, tier)
		}
		b = append(b, 'e')
	}
	if m.Comment != "" {
		b = appendText(b, "comment", m.Comment)
	}
	if m.CreatedBy != "" {
		b = appendText(b, "created by", m.CreatedBy)
	}
	if !m.Created.IsZero() {
		b = appendInt(b, "creation date", m.Created.Unix())
	}
	b = append(appendString(b, "info"), m.Raw...)
	if len(m.Nodes) > 0 {
		b = appendKey(b, "nodes", 'l')
		for _, s := range m.Nodes {
			if host, port, ok := splitNode(s); ok {
				b = appendString(append(b, 'l'), host)
				b = append(b, 'i')
				b = strconv.AppendUint(b, uint64(port), 10)
				b = append(b, "ee"...)
			}
		}
		b = append(b, 'e')
	}
	if private {
		b = appendInt(b, "private", 1)
	}
	if len(m.WebSeeds) > 0 {
		b = appendList(appendString(b, "url-list"), m.WebSeeds)
	}
	return append(b, 'e')
}

func appendString(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	return append(append(b, ':'), s...)
}

// appendKey appends a key and the beginning of its value.
func appendKey(b []byte, key string, kind byte) []byte {
	return append(appendString(b, key), kind)
}

func appendText(b []byte, key, s string) []byte { return appendString(appendString(b, key), s) }

func appendInt(b []byte, key string, n int64) []byte {
	return append(strconv.AppendInt(appendKey(b, key, 'i'), n, 10), 'e')
}

func appendList(b []byte, list []string) []byte {
	b = append(b, 'l')
	for _, s := range list {
		b = appendString(b, s)
	}
	return append(b, 'e')
}
