package peerwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"btd/piece"
)

// sample is one message with the bytes it has on the wire, spelled out.
type sample struct {
	name string
	wire string
	m    Message
	add  func(b []byte) []byte
}

func samples() []sample {
	block := piece.Block{Piece: 0x01020304, Begin: 0x8000, Length: 0x4000}
	return []sample{
		{"keep-alive", "\x00\x00\x00\x00", Message{ID: KeepAlive}, AppendKeepAlive},
		{"choke", "\x00\x00\x00\x01\x00", Message{ID: Choke}, AppendChoke},
		{"unchoke", "\x00\x00\x00\x01\x01", Message{ID: Unchoke}, AppendUnchoke},
		{"interested", "\x00\x00\x00\x01\x02", Message{ID: Interested}, AppendInterested},
		{"not interested", "\x00\x00\x00\x01\x03", Message{ID: NotInterested}, AppendNotInterested},
		{
			"have", "\x00\x00\x00\x05\x04\x01\x02\x03\x04",
			Message{ID: Have, Index: 0x01020304},
			func(b []byte) []byte { return AppendHave(b, 0x01020304) },
		},
		{
			"bitfield", "\x00\x00\x00\x03\x05\xff\x80",
			Message{ID: Bitfield, Payload: []byte{0xff, 0x80}},
			func(b []byte) []byte { return AppendBitfield(b, []byte{0xff, 0x80}) },
		},
		{
			"request", "\x00\x00\x00\x0d\x06\x01\x02\x03\x04\x00\x00\x80\x00\x00\x00\x40\x00",
			Message{ID: Request, Index: 0x01020304, Begin: 0x8000, Length: 0x4000},
			func(b []byte) []byte { return AppendRequest(b, block) },
		},
		{
			"piece", "\x00\x00\x00\x0c\x07\x01\x02\x03\x04\x00\x00\x80\x00abc",
			Message{ID: Piece, Index: 0x01020304, Begin: 0x8000, Length: 3, Payload: []byte("abc")},
			func(b []byte) []byte { return AppendPiece(b, 0x01020304, 0x8000, []byte("abc")) },
		},
		{
			"cancel", "\x00\x00\x00\x0d\x08\x01\x02\x03\x04\x00\x00\x80\x00\x00\x00\x40\x00",
			Message{ID: Cancel, Index: 0x01020304, Begin: 0x8000, Length: 0x4000},
			func(b []byte) []byte { return AppendCancel(b, block) },
		},
		{
			"port", "\x00\x00\x00\x03\x09\x1a\xe1",
			Message{ID: Port, Index: 6881},
			func(b []byte) []byte { return AppendPort(b, 6881) },
		},
		{
			"suggest", "\x00\x00\x00\x05\x0d\x00\x00\x00\x07",
			Message{ID: Suggest, Index: 7},
			func(b []byte) []byte { return AppendSuggest(b, 7) },
		},
		{"have all", "\x00\x00\x00\x01\x0e", Message{ID: HaveAll}, AppendHaveAll},
		{"have none", "\x00\x00\x00\x01\x0f", Message{ID: HaveNone}, AppendHaveNone},
		{
			"reject", "\x00\x00\x00\x0d\x10\x01\x02\x03\x04\x00\x00\x80\x00\x00\x00\x40\x00",
			Message{ID: Reject, Index: 0x01020304, Begin: 0x8000, Length: 0x4000},
			func(b []byte) []byte { return AppendReject(b, block) },
		},
		{
			"allowed fast", "\x00\x00\x00\x05\x11\x00\x00\x00\x07",
			Message{ID: AllowedFast, Index: 7},
			func(b []byte) []byte { return AppendAllowedFast(b, 7) },
		},
		{
			"extended", "\x00\x00\x00\x04\x14\x03de",
			Message{ID: Extended, Ext: 3, Payload: []byte("de")},
			func(b []byte) []byte { return AppendExtended(b, 3, []byte("de")) },
		},
		{
			"extended without payload", "\x00\x00\x00\x02\x14\x03",
			Message{ID: Extended, Ext: 3, Payload: []byte{}},
			func(b []byte) []byte { return AppendExtended(b, 3, nil) },
		},
		{
			"lt_donthave", "\x00\x00\x00\x06\x14\x07\x00\x00\x01\x00",
			Message{ID: Extended, Ext: 7, Payload: []byte{0, 0, 1, 0}},
			func(b []byte) []byte { return AppendDontHave(b, 7, 256) },
		},
	}
}

func TestMessagesOnTheWire(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			if got := string(s.add(nil)); got != s.wire {
				t.Errorf("append: got %x, want %x", got, s.wire)
			}
			if got := string(s.m.Append([]byte("x"))); got != "x"+s.wire {
				t.Errorf("Message.Append: got %x, want 78 and %x", got, s.wire)
			}
			var m Message
			n, err := Decode([]byte(s.wire+"\x00\x00"), &m)
			if err != nil || n != len(s.wire) {
				t.Fatalf("decode: got %d, %v, want %d", n, err, len(s.wire))
			}
			if !reflect.DeepEqual(m, s.m) {
				t.Errorf("decode: got %+v, want %+v", m, s.m)
			}
		})
	}
}

func TestEveryTruncationIsShort(t *testing.T) {
	for _, s := range samples() {
		for n := range len(s.wire) {
			var m Message
			if k, err := Decode([]byte(s.wire[:n]), &m); err != io.ErrUnexpectedEOF || k != 0 {
				t.Errorf("%s cut to %d bytes: got %d, %v, want io.ErrUnexpectedEOF", s.name, n, k, err)
			}
		}
	}
}

// wire is a message of any length and id, its payload zeros.
func wire(id byte, size int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(size))
	return append(append(b, id), make([]byte, size-1)...)
}

func TestWrongLengthsAreMalformed(t *testing.T) {
	cases := []struct {
		name string
		b    []byte
		says string
	}{
		{"long choke", wire(0, 2), "choke: length 2, want 1"},
		{"short have", wire(4, 4), "have: length 4, want 5"},
		{"long have", wire(4, 6), "have: length 6, want 5"},
		{"short request", wire(6, 12), "request: length 12, want 13"},
		{"long cancel", wire(8, 17), "cancel: length 17, want 13"},
		{"short reject", wire(16, 1), "reject: length 1, want 13"},
		{"short port", wire(9, 2), "port: length 2, want 3"},
		{"long have all", wire(14, 5), "have all: length 5, want 1"},
		{"bare allowed fast", wire(17, 1), "allowed fast: length 1, want 5"},
		{"piece without begin", wire(7, 5), "piece: length 5"},
		{"piece without data", wire(7, 9), "piece: length 9"},
		{"piece beyond 128 KiB", []byte{0, 2, 0, 10, 7}, "piece: length 131082"},
		{"extended without id", wire(20, 1), "extended: length 1"},
		{"huge bitfield", []byte{0xff, 0xff, 0xff, 0xff, 5}, "bitfield: length 4294967295"},
		{"huge unknown", []byte{0x7f, 0xff, 0xff, 0xff, 99}, "message 99: length 2147483647"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var m Message
			_, err := Decode(c.b, &m)
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want ErrMalformed that says %q", err, c.says)
			}
		})
	}
}

func TestIDNames(t *testing.T) {
	for id, want := range map[ID]string{Choke: "choke", NotInterested: "not interested", Extended: "extended", KeepAlive: "keep-alive", 10: "message 10", 255: "message 255"} {
		if got := id.String(); got != want {
			t.Errorf("ID %d: got %q, want %q", uint16(id), got, want)
		}
		if got := id.Known(); got == strings.HasPrefix(want, "message") {
			t.Errorf("ID %d: known is %v", uint16(id), got)
		}
	}
}

func TestDontHave(t *testing.T) {
	if i, err := ParseDontHave([]byte{0, 0, 1, 2}); err != nil || i != 258 {
		t.Errorf("got %d, %v, want 258", i, err)
	}
	for _, n := range []int{0, 3, 5} {
		if _, err := ParseDontHave(make([]byte, n)); !errors.Is(err, ErrMalformed) {
			t.Errorf("payload of %d bytes: got %v, want ErrMalformed", n, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range samples() {
		f.Add([]byte(s.wire))
	}
	f.Add(wire(99, 12))
	f.Fuzz(func(t *testing.T, in []byte) {
		var m Message
		n, err := Decode(in, &m)
		if err != nil {
			if n != 0 || err != io.ErrUnexpectedEOF && !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %d, %v", n, err)
			}
			return
		}
		if n > len(in) {
			t.Fatalf("read %d of %d bytes", n, len(in))
		}
		if got := m.Append(nil); !bytes.Equal(got, in[:n]) {
			t.Fatalf("%v: decoded %x, re-encoded %x", m.ID, in[:n], got)
		}
	})
}

func TestDecodeAndAppendAllocateNothing(t *testing.T) {
	data := make([]byte, piece.BlockSize)
	b := AppendPiece(nil, 1, 2, data)
	out := make([]byte, 0, len(b))
	var m Message
	got := testing.AllocsPerRun(100, func() {
		if _, err := Decode(b, &m); err != nil {
			t.Fatal(err)
		}
		out = m.Append(out[:0])
	})
	if got != 0 {
		t.Errorf("allocations per block: got %v, want 0", got)
	}
}
