package metainfo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Make is the .torrent file of m, a torrent that did not come from a file: its
// info dictionary is made of m.Info and becomes m.Raw, its hash m.Hash. Files
// carry no attributes and there are no pad files, so that what a machine knows
// of a file beside its bytes does not change the info-hash.
//
// What Parse refuses is refused, in Parse's words, and so is what it would not
// read as it was meant.
func (m *Metainfo) Make() ([]byte, error) {
	m.Raw = m.encode()
	b := m.file(false)
	got, err := Parse(b)
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name string
		same bool
	}{
		{"name", got.Name == m.Name},
		{"list of files", got.Single == m.Single && slices.EqualFunc(got.Files, m.Files, sameFile)},
		{"piece hashes", got.PieceLength == m.PieceLength && string(got.Sums) == string(m.Sums)},
		{"private flag", got.Private == m.Private},
		{"source", got.Source == m.Source},
		{"comment", got.Comment == m.Comment},
		{"creator", got.CreatedBy == m.CreatedBy},
		{"date", got.Created.Equal(m.Created)},
		{"list of trackers", slices.EqualFunc(got.Trackers, m.Trackers, slices.Equal)},
		{"list of web seeds", slices.Equal(got.WebSeeds, m.WebSeeds)},
		{"list of nodes", slices.Equal(got.Nodes, m.Nodes)},
	} {
		if !part.same {
			return nil, fmt.Errorf("metainfo: the %s can't be kept as it is: too long, too many, or not UTF-8", part.name)
		}
	}
	m.Hash, m.Total = got.Hash, got.Total
	return b, nil
}

func sameFile(x, y File) bool { return x.Path == y.Path && x.Length == y.Length }

// encode is the info dictionary (BEP 3).
func (i *Info) encode() []byte {
	size := 1024 + len(i.Sums)
	for f := range i.Files {
		size += len(i.Files[f].Path) + 64
	}
	b := append(make([]byte, 0, size), 'd')
	if i.Single && len(i.Files) == 1 {
		b = appendInt(b, "length", i.Files[0].Length)
	} else {
		b = appendKey(b, "files", 'l')
		below := i.Name + "/"
		for _, f := range i.Files {
			b = appendInt(append(b, 'd'), "length", f.Length)
			b = appendList(appendString(b, "path"), strings.Split(strings.TrimPrefix(f.Path, below), "/"))
			b = append(b, 'e')
		}
		b = append(b, 'e')
	}
	b = appendText(b, "name", i.Name)
	b = appendInt(b, "piece length", i.PieceLength)
	b = appendString(b, "pieces")
	b = strconv.AppendInt(b, int64(len(i.Sums)), 10)
	b = append(append(b, ':'), i.Sums...)
	if i.Private {
		b = appendInt(b, "private", 1)
	}
	if i.Source != "" {
		b = appendText(b, "source", i.Source)
	}
	return append(b, 'e')
}
