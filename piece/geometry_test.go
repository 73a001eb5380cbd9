package piece

import (
	"math"
	"testing"
)

func TestGeometry(t *testing.T) {
	const block = BlockSize
	for _, tt := range []struct {
		name          string
		total, length int64
		pieces        int
		lastLength    int64
		blocks        int   // in the first piece
		lastBlocks    int   // in the last piece
		lastBlock     int64 // length of the very last block
	}{
		{"one byte in all", 1, 1, 1, 1, 1, 1, 1},
		{"pieces of one byte", 5, 1, 5, 1, 1, 1, 1},
		{"content shorter than a piece", 100, 512 << 20, 1, 100, 1, 1, 100},
		{"pieces shorter than a block", 25, 10, 3, 5, 1, 1, 5},
		{"whole pieces", 4 * block, 2 * block, 2, 2 * block, 2, 2, block},
		{"short last piece", 4*block + 1, 2 * block, 3, 1, 2, 1, 1},
		{"last piece one byte short", 4*block - 1, 2 * block, 2, 2*block - 1, 2, 2, block - 1},
		{"piece length that is no multiple of a block", 3*block + 30, block + 10, 3, block + 10, 2, 2, 10},
		{"largest piece", 3*(512<<20) - 5, 512 << 20, 3, 512<<20 - 5, 32768, 32768, block - 5},
		{"most pieces", MaxPieces, 1, MaxPieces, 1, 1, 1, 1},
		{"most and largest pieces", MaxPieces * MaxPieceLength, MaxPieceLength, MaxPieces, MaxPieceLength, 32768, 32768, block},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := NewGeometry(tt.total, tt.length)
			if err != nil {
				t.Fatal(err)
			}
			last := Index(tt.pieces - 1)
			if g.Pieces() != tt.pieces || g.Total() != tt.total || g.PieceLength() != tt.length {
				t.Errorf("%d pieces of %d bytes, %d in all", g.Pieces(), g.PieceLength(), g.Total())
			}
			if g.Length(last) != tt.lastLength || g.Blocks(0) != tt.blocks || g.Blocks(last) != tt.lastBlocks {
				t.Errorf("last piece %d bytes, %d blocks; first %d blocks", g.Length(last), g.Blocks(last), g.Blocks(0))
			}
			b := g.Block(last, tt.lastBlocks-1)
			if int64(b.Length) != tt.lastBlock || b.Number() != tt.lastBlocks-1 {
				t.Errorf("last block is %v, number %d", b, b.Number())
			}
			if g.Offset(last)+int64(b.Begin)+int64(b.Length) != tt.total {
				t.Errorf("the last block ends at %d", g.Offset(last)+int64(b.Begin)+int64(b.Length))
			}
			checkBlocks(t, g, last)
		})
	}
}

// checkBlocks holds CheckBlock and CheckRange of piece i against its blocks.
func checkBlocks(t *testing.T, g Geometry, i Index) {
	t.Helper()
	sum := int64(0)
	for k := range g.Blocks(i) {
		b := g.Block(i, k)
		sum += int64(b.Length)
		if got, ok := g.CheckBlock(uint32(i), b.Begin, b.Length); !ok || got != b {
			t.Fatalf("CheckBlock refuses %v", b)
		}
		if _, ok := g.CheckBlock(uint32(i), b.Begin, b.Length+1); ok {
			t.Fatalf("CheckBlock accepts %v with a byte more", b)
		}
		if _, ok := g.CheckBlock(uint32(i), b.Begin, b.Length-1); ok {
			t.Fatalf("CheckBlock accepts %v with a byte less", b)
		}
		if _, ok := g.CheckRange(uint32(i), b.Begin, b.Length); !ok {
			t.Fatalf("CheckRange refuses %v", b)
		}
	}
	if sum != g.Length(i) {
		t.Errorf("the blocks are %d bytes, the piece %d", sum, g.Length(i))
	}
	length := uint32(g.Length(i))
	for _, tt := range []struct {
		index, begin, length uint32
		block, in            bool
	}{
		{uint32(i), 0, length, length <= BlockSize, true},
		{uint32(i), 0, length + 1, false, false},
		{uint32(i), 0, 0, false, false},
		{uint32(i), length, 1, false, false},
		{uint32(i), length - 1, 1, length%BlockSize == 1, true},
		{uint32(i), length - 1, 2, false, false},
		{uint32(i), 1, math.MaxUint32, false, false},
		{uint32(i), math.MaxUint32, math.MaxUint32, false, false},
		{uint32(i) + 1, 0, 1, false, false},
		{math.MaxUint32, 0, BlockSize, false, false},
	} {
		if _, ok := g.CheckBlock(tt.index, tt.begin, tt.length); ok != tt.block {
			t.Errorf("CheckBlock(%d, %d, %d) = %v", tt.index, tt.begin, tt.length, ok)
		}
		if _, ok := g.CheckRange(tt.index, tt.begin, tt.length); ok != tt.in {
			t.Errorf("CheckRange(%d, %d, %d) = %v", tt.index, tt.begin, tt.length, ok)
		}
	}
}

func TestGeometryRefuses(t *testing.T) {
	for _, tt := range []struct{ total, length int64 }{
		{0, 1},
		{-1, 1},
		{1, 0},
		{1, -1},
		{1, MaxPieceLength + 1},
		{MaxPieces + 1, 1},
		{math.MaxInt64, MaxPieceLength},
		{math.MaxInt64, 1},
	} {
		if g, err := NewGeometry(tt.total, tt.length); err == nil || g.Pieces() != 0 {
			t.Errorf("NewGeometry(%d, %d) = %v, %v", tt.total, tt.length, g, err)
		}
	}
	if n := (Geometry{}).Pieces(); n != 0 {
		t.Errorf("the zero geometry has %d pieces", n)
	}
	if _, ok := (Geometry{}).Index(0); ok {
		t.Error("the zero geometry has a piece 0")
	}
}

func TestSpan(t *testing.T) {
	g, _ := NewGeometry(100, 10)
	for _, tt := range []struct {
		off, n      int64
		first, last Index
	}{
		{0, 1, 0, 0},
		{0, 10, 0, 0},
		{0, 11, 0, 1},
		{9, 1, 0, 0},
		{9, 2, 0, 1},
		{10, 10, 1, 1},
		{0, 100, 0, 9},
		{99, 1, 9, 9},
	} {
		if first, last := g.Span(tt.off, tt.n); first != tt.first || last != tt.last {
			t.Errorf("Span(%d, %d) = %d, %d, want %d, %d", tt.off, tt.n, first, last, tt.first, tt.last)
		}
	}
}
