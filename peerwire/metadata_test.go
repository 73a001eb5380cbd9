package peerwire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"
)

func TestMetadataOnTheWire(t *testing.T) {
	tail := strings.Repeat("x", 34256-2*MetadataPiece)
	for name, c := range map[string]struct {
		wire string
		m    Metadata
	}{
		// The examples of BEP 9; that of reject has a wrong type there.
		"request": {"d8:msg_typei0e5:piecei0ee", Metadata{Type: MetadataRequest}},
		"data":    {"d8:msg_typei1e5:piecei2e10:total_sizei34256ee" + tail, Metadata{Type: MetadataData, Piece: 2, Total: 34256, Data: []byte(tail)}},
		"reject":  {"d8:msg_typei2e5:piecei0ee", Metadata{Type: MetadataReject}},
		"no size": {"d8:msg_typei1e5:piecei7eexyz", Metadata{Type: MetadataData, Piece: 7, Data: []byte("xyz")}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.m.Append(nil); string(got) != c.wire {
				t.Errorf("append: got %q, want %q", got, c.wire)
			}
			var got Metadata
			if err := got.Parse([]byte(c.wire)); err != nil || !reflect.DeepEqual(got, c.m) {
				t.Errorf("parse: got %+v, %v, want %+v", got, err, c.m)
			}
			for n := range len(c.wire) {
				if n > 60 && n < len(c.wire)-1 {
					continue
				}
				if err := got.Parse([]byte(c.wire[:n])); !errors.Is(err, ErrMalformed) && name != "no size" {
					t.Errorf("cut to %d bytes: %v, want ErrMalformed", n, err)
				}
			}
		})
	}
	var m Metadata
	if err := m.Parse([]byte("d8:msg_typei3e5:piecei-1ee")); err != nil || m.Type <= MetadataReject {
		t.Errorf("a type of the future: %+v, %v, want it passed over", m, err)
	}
	if err := m.Parse([]byte("d1:al1:bee8:msg_typei0e5:piecei1ee")); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v", err)
	}
	if err := m.Parse([]byte("d5:piecei4e1:al1:be8:msg_typei0ee")); err != nil || m.Piece != 4 || m.Type != MetadataRequest {
		t.Errorf("unsorted keys: %+v, %v", m, err)
	}
}

func TestMetadataRefuses(t *testing.T) {
	block := strings.Repeat("x", MetadataPiece)
	for _, in := range []string{
		"", "x", "de", "i1e", "le", "d8:msg_type1:0e", "d8:msg_typei-1e5:piecei0ee", "d8:msg_typei0ee", "d8:msg_typei0e5:piecei-1ee",
		"d8:msg_typei0e5:piecei1920ee", "d8:msg_typei0e5:piecei99999999999999999999ee", "d8:msg_typei2e5:piece1:0e",
		"d8:msg_typei1e5:piecei0e10:total_sizei-1ee" + block,         // -1
		"d8:msg_typei1e5:piecei0e10:total_sizei2147483648ee" + block, // 2 GiB
		"d8:msg_typei1e5:piecei0e10:total_sizei31457281ee" + block,
		"d8:msg_typei1e5:piecei0e10:total_size1:1ex",
		"d8:msg_typei1e5:piecei0e10:total_sizei20000ee" + block[1:],
		"d8:msg_typei1e5:piecei0e10:total_sizei20000ee" + block + "x",
		"d8:msg_typei1e5:piecei1e10:total_sizei16384eex",
		"d8:msg_typei1e5:piecei0e10:total_sizei5ee",
		"d8:msg_typei1e5:piecei0ee",
		"d8:msg_typei1e5:piecei0ee" + block + "x",
	} {
		var m Metadata
		if err := m.Parse([]byte(in)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.80q: got %+v, %v, want ErrMalformed", in, m, err)
		}
	}
	for size, want := range map[string]int{"-1": 0, "0": 0, "2147483648": 0, "31457281": 0, "31457280": MaxMetadata, "1": 1} {
		var h ExtHandshake
		if err := h.Parse([]byte("d13:metadata_sizei" + size + "ee")); err != nil || h.MetadataSize != want {
			t.Errorf("metadata_size %s: got %d, %v, want %d", size, h.MetadataSize, err, want)
		}
	}
}

func TestMetadataPieces(t *testing.T) {
	for _, c := range []struct{ total, pieces, last int }{
		{1, 1, 1}, {MetadataPiece, 1, MetadataPiece}, {MetadataPiece + 1, 2, 1}, {MaxMetadata, MaxMetadata / MetadataPiece, MetadataPiece},
	} {
		if n := MetadataPieces(c.total); n != c.pieces || MetadataPieceLen(c.total, n-1) != c.last || MetadataPieceLen(c.total, n) != 0 {
			t.Errorf("%d bytes: %d pieces, the last of %d", c.total, n, MetadataPieceLen(c.total, n-1))
		}
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte("d8:msg_typei0e5:piecei0ee"))
	f.Add([]byte("d8:msg_typei1e5:piecei2e10:total_sizei32769eex"))
	f.Add([]byte("d8:msg_typei2e5:piecei7ee"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var m Metadata
		if err := m.Parse(in); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if m.Type > MetadataReject {
			return
		}
		if m.Piece < 0 || m.Total < 0 || m.Total > MaxMetadata || len(m.Data) > MetadataPiece || !bytes.HasSuffix(in, m.Data) {
			t.Fatalf("%+v", m)
		}
		var again Metadata
		if err := again.Parse(m.Append(nil)); err != nil || again.Type != m.Type || again.Piece != m.Piece || again.Total != m.Total || !bytes.Equal(again.Data, m.Data) {
			t.Fatalf("got %+v, after a round trip %+v, %v", m, again, err)
		}
		var lib struct {
			Type  int64 `bencode:"msg_type"`
			Piece int64 `bencode:"piece"`
			Total int64 `bencode:"total_size"`
		}
		var trailing bencode.ErrUnusedTrailingBytes
		if err := bencode.Unmarshal(in, &lib); (err == nil || errors.As(err, &trailing)) && canonical(in) {
			if lib.Type != int64(m.Type) || lib.Piece != int64(m.Piece) || m.Type == MetadataData && lib.Total != int64(m.Total) {
				t.Fatalf("the library has %+v, we have %+v", lib, m)
			}
			if m.Type == MetadataData && errors.As(err, &trailing) && trailing.NumUnusedBytes != len(m.Data) {
				t.Fatalf("%d bytes of data, the library leaves %d", len(m.Data), trailing.NumUnusedBytes)
			}
		}
	})
}
