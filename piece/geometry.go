package piece

import (
	"errors"
	"fmt"
)

// BlockSize is the unit of transfer: requests ask for this many bytes, or
// for what is left of the piece (BEP 3, "request").
const BlockSize = 16 << 10

// Limits on what a torrent may ask of us. They bound the memory of the
// structures that grow with the number of pieces.
const (
	MaxPieceLength = 512 << 20 // bytes
	MaxPieces      = 1 << 20
)

// Index is a piece number that was checked against a Geometry.
type Index uint32

// Buffer is the memory of one block. It has one owner at a time: sending it
// gives it away. Buffers come from and go back to the storage pool.
type Buffer [BlockSize]byte

// Block names a block of a piece. Begin is a multiple of BlockSize; Length is
// BlockSize except for the last block of a piece.
type Block struct {
	Piece  Index
	Begin  uint32 // offset from the start of the piece, bytes
	Length uint32 // bytes
}

// Number is the position of the block in its piece, from 0.
func (b Block) Number() int { return int(b.Begin / BlockSize) }

// Geometry is how a byte stream is cut into pieces and blocks. The zero
// value has no pieces.
type Geometry struct {
	total int64
	size  int64
}

// NewGeometry cuts total bytes into pieces of pieceLength bytes; the last
// one may be shorter.
func NewGeometry(total, pieceLength int64) (Geometry, error) {
	switch {
	case total <= 0:
		return Geometry{}, errors.New("piece: the content is empty")
	case pieceLength <= 0 || pieceLength > MaxPieceLength:
		return Geometry{}, fmt.Errorf("piece: piece length %d, want 1 to %d bytes", pieceLength, int64(MaxPieceLength))
	case (total-1)/pieceLength+1 > MaxPieces:
		return Geometry{}, fmt.Errorf("piece: %d pieces, at most %d are supported", (total-1)/pieceLength+1, MaxPieces)
	}
	return Geometry{total: total, size: pieceLength}, nil
}

// Total is the length of the content in bytes.
func (g Geometry) Total() int64 { return g.total }

// PieceLength is the nominal length of a piece in bytes.
func (g Geometry) PieceLength() int64 { return g.size }

// Pieces is the number of pieces.
func (g Geometry) Pieces() int {
	if g.size == 0 {
		return 0
	}
	return int((g.total-1)/g.size) + 1
}

// Index checks a piece number received from a peer.
func (g Geometry) Index(n uint32) (Index, bool) {
	return Index(n), int64(n) < int64(g.Pieces())
}

// Offset is where piece i starts in the content, bytes.
func (g Geometry) Offset(i Index) int64 { return int64(i) * g.size }

// Length is the length of piece i in bytes.
func (g Geometry) Length(i Index) int64 { return min(g.size, g.total-g.Offset(i)) }

// Blocks is the number of blocks in piece i.
func (g Geometry) Blocks(i Index) int { return int((g.Length(i) + BlockSize - 1) / BlockSize) }

// Block is block number n (from 0) of piece i.
func (g Geometry) Block(i Index, n int) Block {
	begin := int64(n) * BlockSize
	return Block{Piece: i, Begin: uint32(begin), Length: uint32(min(BlockSize, g.Length(i)-begin))}
}

// CheckBlock accepts the three numbers of a "piece" message only if they are
// exactly one of our blocks.
func (g Geometry) CheckBlock(index, begin, length uint32) (Block, bool) {
	i, ok := g.Index(index)
	if !ok || begin%BlockSize != 0 || int64(begin) >= g.Length(i) {
		return Block{}, false
	}
	b := g.Block(i, int(begin/BlockSize))
	return b, b.Length == length
}

// CheckRange accepts the three numbers of a "request" message if they lie
// within one piece. Peers may ask for other sizes than our blocks.
func (g Geometry) CheckRange(index, begin, length uint32) (Index, bool) {
	i, ok := g.Index(index)
	return i, ok && length > 0 && int64(begin)+int64(length) <= g.Length(i)
}

// Span is the range of pieces [first, last] that overlaps n > 0 bytes of
// content from offset off.
func (g Geometry) Span(off, n int64) (first, last Index) {
	return Index(off / g.size), Index((off + n - 1) / g.size)
}
