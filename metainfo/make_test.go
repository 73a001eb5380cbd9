package metainfo

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func draft() Metainfo {
	m := Metainfo{
		Trackers: [][]string{{"http://a.example/", "udp://b.example:1"}, {"http://c.example/"}}, WebSeeds: []string{"http://m.example/"},
		Nodes: []string{"n.example:6881"}, Comment: "c", CreatedBy: "me", Created: time.Unix(1e9, 0).UTC(),
	}
	m.Info = Info{
		Name: "d", PieceLength: 16384, Sums: make([]byte, 40), Private: true, Source: "SRC",
		Files: []File{{Path: "d/a.b", Length: 1}, {Path: "d/a/b", Length: 20000, Offset: 1}},
	}
	return m
}

func TestMakeReadsBack(t *testing.T) {
	single := draft()
	single.Single, single.Files = true, []File{{Path: "d", Length: 20000}}
	for _, m := range []Metainfo{draft(), single} {
		b, err := m.Make()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*got, m) {
			t.Errorf("got  %+v\nwant %+v", *got, m)
		}
		if n := strings.Count(string(b), "7:private"); n != 1 {
			t.Errorf("the private flag is there %d times, want once: in info", n)
		}
	}
}

func TestMakeRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Metainfo)
		want   string
	}{
		"name":           {func(m *Metainfo) { m.Name = ".." }, `".."`},
		"file elsewhere": {func(m *Metainfo) { m.Files[0].Path = "e/x" }, "the list of files"},
		"two as single":  {func(m *Metainfo) { m.Single = true }, "the list of files"},
		"clash":          {func(m *Metainfo) { m.Files[0].Path = "d/a" }, "is a file, but also a directory"},
		"few hashes":     {func(m *Metainfo) { m.Sums = m.Sums[:20] }, "1 piece hashes"},
		"odd hashes":     {func(m *Metainfo) { m.Sums = m.Sums[:39] }, "not a multiple of 20"},
		"piece length":   {func(m *Metainfo) { m.PieceLength = 0 }, "piece length 0"},
		"source":         {func(m *Metainfo) { m.Source = "\xff" }, "the source"},
		"comment":        {func(m *Metainfo) { m.Comment = strings.Repeat("c", maxComment+1) }, "the comment"},
		"creator":        {func(m *Metainfo) { m.CreatedBy = strings.Repeat("c", maxLabel+1) }, "the creator"},
		"date":           {func(m *Metainfo) { m.Created = time.Unix(-5, 0) }, "the date"},
		"tracker":        {func(m *Metainfo) { m.Trackers = append(m.Trackers, []string{"x"}) }, "the list of trackers"},
		"web seed":       {func(m *Metainfo) { m.WebSeeds = []string{"x"} }, "the list of web seeds"},
		"node":           {func(m *Metainfo) { m.Nodes = []string{"x"} }, "the list of nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			m := draft()
			tt.change(&m)
			if _, err := m.Make(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
