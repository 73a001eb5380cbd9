package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"btd/metainfo"
	"btd/piece"
)

// Options says where a torrent's content lives and who hears of it.
type Options struct {
	Info     *metainfo.Info
	Dir      string // download directory
	Prealloc bool   // reserve the whole length of a file when it is made
	Create   bool   // make Dir at the first write if it is missing; for a torrent's first start only
	Skip     []bool // files that are not wanted, by number; nil means none

	// Foreign tells whether somebody else has a file, by number: nothing is
	// written to it while it is skipped, and it is not removed. What wanted pieces
	// have of it goes to the parts file, as if it were not there. nil means that
	// no file is. It runs in a worker, before such a write.
	Foreign func(file int) bool

	// MarkDirty is called before the first write to each of these files, by
	// number. It must be durable when it returns. Neighbours are named along
	// with a file, so that many small files take few calls. It runs in a worker.
	MarkDirty func(files []int) error

	// Done hears of every piece that was written or met an error. It runs in
	// a worker and must not block long.
	Done func(Result)
}

// Result is what became of a piece whose blocks were all written, or of one
// that met an I/O error before that. The next Write to the piece begins a new
// attempt.
type Result struct {
	Piece piece.Index
	OK    bool  // the piece is on disk and its hash is right
	Err   error // I/O error; nil if the bytes are just wrong

	// Blocks is, for a piece whose hash is wrong, the SHA-1 of every block as
	// it was received, to be compared once the right piece is known. It is nil
	// if the piece could not be read back.
	Blocks [][20]byte
}

// Torrent is the content of one torrent. Its methods may be called from any
// goroutine.
type Torrent struct {
	s    *Store
	o    Options
	info *metainfo.Info
	geo  piece.Geometry
	tree tree
	pads bool

	// What each file is now, in bits. See flag.
	flags []atomic.Uint32

	// layout is held for reading while bytes move between memory and files,
	// and for writing while a file changes its place.
	layout  sync.RWMutex
	skip    []bool // per file; nil means none
	prepare sync.Mutex
	ready   atomic.Bool
	edges   func() []piece.Index
	apart   apart
	seal    atomic.Pointer[[]FileStat] // what the files were when they were right; nil if nobody said

	open map[int]*handle // guarded by Store.handles.mu

	dirtyMu    sync.Mutex
	dirty      []int      // files written since the last Sync
	dirtySince uint32     // tree.opened when the first of them was
	syncing    sync.Mutex // one Sync at a time
	marking    sync.Mutex // one MarkDirty at a time
	empties    atomic.Bool
	wrong      atomic.Pointer[Error] // the last I/O error, for Probe

	gate gate
	work torrentWork // guarded by Store.queue.mu
}

// Open takes on a torrent. It touches no file.
func (s *Store) Open(o Options) (*Torrent, error) {
	geo, err := piece.NewGeometry(o.Info.Total, o.Info.PieceLength)
	if err != nil {
		return nil, fmt.Errorf("storage: open %q: %w", o.Info.Name, err)
	}
	if got := o.Info.Pieces(); got != geo.Pieces() {
		return nil, fmt.Errorf("storage: open %q: %d piece hashes, want %d", o.Info.Name, got, geo.Pieces())
	}
	if o.Skip != nil && len(o.Skip) != len(o.Info.Files) {
		return nil, fmt.Errorf("storage: open %q: skip list of %d, want %d", o.Info.Name, len(o.Skip), len(o.Info.Files))
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("storage: open %q: %w", o.Info.Name, err)
	}
	t := &Torrent{
		s: s, o: o, info: o.Info, geo: geo,
		tree:  tree{dir: dir, create: o.Create, watch: len(o.Info.Files) >= manyFiles, fault: s.fault},
		flags: make([]atomic.Uint32, len(o.Info.Files)+1),
		skip:  slices.Clone(o.Skip),
		open:  make(map[int]*handle),
	}
	t.edges = sync.OnceValue(t.findEdges)
	t.gate.init()
	t.work.pieces = make(map[piece.Index]*work)
	if err := t.checkFiles(); err != nil {
		return nil, fmt.Errorf("storage: open %q: %w", o.Info.Name, err)
	}
	return t, nil
}

// checkFiles holds the file list to what the rest of the package relies on.
func (t *Torrent) checkFiles() error {
	at := int64(0)
	for i := range t.info.Files {
		f := &t.info.Files[i]
		switch {
		case f.Length < 0 || f.Offset != at || f.Length > t.info.Total-at:
			return fmt.Errorf("file %q: does not follow the file before it", f.Path)
		case f.Pad:
			t.pads = true
		case !fs.ValidPath(f.Path) || f.Path == "." || !filepath.IsLocal(filepath.FromSlash(f.Path)) || f.Path == t.partsName():
			return fmt.Errorf("file %q: path not allowed", f.Path)
		}
		at += f.Length
	}
	if at != t.info.Total {
		return fmt.Errorf("files add up to %d bytes, want %d", at, t.info.Total)
	}
	return nil
}

// Flush waits until every piece that is complete has had its Result.
func (t *Torrent) Flush() { t.s.queue.flush(t) }

// Release closes the torrent's files until they are needed again.
func (t *Torrent) Release() { t.forget() }

// Close forgets the blocks of unfinished pieces, waits for the work that is
// under way (complete pieces still get their Result), and closes the files.
// It does not Sync.
func (t *Torrent) Close() error {
	t.gate.shut()
	t.s.queue.drop(t)
	t.gate.wait()
	t.forget()
	return nil
}

// gate counts the calls that are inside a torrent and lets none in once shut.
type gate struct {
	mu     sync.Mutex
	empty  sync.Cond
	inside int
	closed atomic.Bool
}

func (g *gate) init() { g.empty.L = &g.mu }

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed.Load() {
		return ErrClosed
	}
	g.inside++
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	g.inside--
	if g.inside == 0 {
		g.empty.Broadcast()
	}
	g.mu.Unlock()
}

func (g *gate) shut() {
	g.mu.Lock()
	g.closed.Store(true)
	g.mu.Unlock()
}

func (g *gate) wait() {
	g.mu.Lock()
	for g.inside > 0 {
		g.empty.Wait()
	}
	g.mu.Unlock()
}

// Bits of Torrent.flags.
const (
	flagMarked  = 1 << iota // MarkDirty knows of it
	flagSeen                // it was opened once: if it is missing now, it has vanished
	flagDirty               // it is in the list of files to sync
	flagInPlace             // skipped, but the file is there: it is used
	flagInParts             // skipped, and its bytes go to the parts file
	flagApart               // skipped and there, but somebody else's: see apart
)

// partsFile stands for the parts file where a file number is asked for.
const partsFile = -1

// flag is the flags of a file or of the parts file.
func (t *Torrent) flag(file int) *atomic.Uint32 {
	if file == partsFile {
		return &t.flags[len(t.flags)-1]
	}
	return &t.flags[file]
}

func (t *Torrent) path(file int) string {
	if file == partsFile {
		return t.partsName()
	}
	return t.info.Files[file].Path
}

// openAny opens a file of the torrent, and makes it for writing if it was
// never there.
func (t *Torrent) openAny(file int, write bool) (*os.File, error) {
	rel := t.path(file)
	var f *os.File
	err := fs.ErrExist
	if write && t.flag(file).Load()&flagSeen == 0 {
		perm := os.FileMode(0o666)
		if file != partsFile && t.info.Files[file].Executable {
			perm = 0o777
		}
		f, err = t.tree.makeFile(rel, perm)
	}
	if errors.Is(err, fs.ErrExist) {
		f, err = t.tree.openFile(rel, write)
	}
	if err != nil {
		return nil, err
	}
	t.flag(file).Or(flagSeen)
	if write && file != partsFile && t.o.Prealloc {
		if err := t.preallocate(f, file); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

func (t *Torrent) preallocate(f *os.File, file int) error {
	want := t.info.Files[file].Length
	fi, err := f.Stat()
	if err == nil && fi.Size() < want {
		err = preallocate(f, want)
	}
	return wrap("reserve space for", t.tree.dir, t.path(file), err)
}

// failed notes an I/O error and closes everything: an open file or directory
// may belong to a file system that has gone.
func (t *Torrent) failed(err error) {
	var e *Error
	if !errors.As(err, &e) {
		return
	}
	t.wrong.Store(e)
	t.forget()
}

// mark calls MarkDirty for the files in content [off, off+n) that it does not
// know yet. It comes before every write.
func (t *Torrent) mark(off, n int64) error {
	t.unseal()
	if t.o.MarkDirty == nil {
		return nil
	}
	known := true
	for i := t.fileAt(off); i < len(t.info.Files) && t.info.Files[i].Offset < off+n; i++ {
		known = known && (t.info.Files[i].Pad || t.flags[i].Load()&flagMarked != 0)
	}
	if known {
		return nil
	}
	t.marking.Lock()
	defer t.marking.Unlock()
	from, to := t.neighbours(off, n)
	var files []int
	for i := from; i < to; i++ {
		if !t.info.Files[i].Pad && t.flags[i].Load()&flagMarked == 0 {
			files = append(files, i)
		}
	}
	if len(files) == 0 {
		return nil
	}
	if err := t.o.MarkDirty(files); err != nil {
		return wrap("note the first write to", t.tree.dir, t.path(files[0]), err)
	}
	for _, i := range files {
		t.flags[i].Or(flagMarked)
	}
	return nil
}

// How far around a file its neighbours are marked with it.
const (
	markFiles = 4096
	markBytes = 256 << 20
)

// neighbours is the range of files [from, to) to mark for a write to content
// [off, off+n): those, and the aligned group of files around them as far as
// their bytes are near.
func (t *Torrent) neighbours(off, n int64) (from, to int) {
	files := t.info.Files
	first := t.fileAt(off)
	from, to = first, first+1
	for to < len(files) && files[to].Offset < off+n {
		to++
	}
	for low := first / markFiles * markFiles; from > low && off-files[from-1].Offset < markBytes; {
		from--
	}
	for high := min((first/markFiles+1)*markFiles, len(files)); to < high && files[to].Offset+files[to].Length-off < markBytes; {
		to++
	}
	return from, to
}

// Unmark forgets which files MarkDirty was told of: the next write to each
// calls it again. It is for a caller that has just recorded them as clean, and
// must not run while pieces are being written.
func (t *Torrent) Unmark() {
	t.marking.Lock()
	defer t.marking.Unlock()
	for i := range t.flags {
		t.flags[i].And(^uint32(flagMarked))
	}
}

// CreateEmpty makes the wanted files that have no bytes, which is also done by
// the first write, and those whose bytes are all in the parts file.
func (t *Torrent) CreateEmpty() error {
	if err := t.gate.enter(); err != nil {
		return err
	}
	defer t.gate.leave()
	err := t.prepared()
	if err == nil {
		err = t.createEmpty()
	}
	if err != nil {
		t.failed(err)
	}
	return err
}

func (t *Torrent) createEmpty() error {
	t.layout.RLock()
	defer t.layout.RUnlock()
	for i := range t.info.Files {
		f := &t.info.Files[i]
		if f.Length > 0 || f.Pad || f.Symlink || t.skipped(i) || t.flags[i].Load()&flagSeen != 0 {
			continue
		}
		h, err := t.acquire(i, true)
		if err != nil {
			return err
		}
		t.release(h)
	}
	t.empties.Store(true)
	return nil
}
