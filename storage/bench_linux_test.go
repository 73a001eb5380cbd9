package storage

import (
	"context"
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"btd/metainfo"
	"btd/piece"
)

// media are the directories that benchmarks write to: the disk that holds the
// temporary directory, and memory.
func media(b *testing.B, f func(b *testing.B, dir string)) {
	for name, base := range map[string]string{"disk": os.TempDir(), "shm": "/dev/shm"} {
		b.Run(name, func(b *testing.B) {
			dir, err := os.MkdirTemp(base, "btd-bench-")
			if err != nil {
				b.Skip(err)
			}
			defer os.RemoveAll(dir)
			f(b, dir)
		})
	}
}

// meter reports throughput and processor time per GiB.
type meter struct {
	b     *testing.B
	start time.Time
	cpu   float64
}

func cpuSeconds() float64 {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func startMeter(b *testing.B) *meter {
	b.ResetTimer()
	return &meter{b, time.Now(), cpuSeconds()}
}

func (m *meter) report(bytes int64) {
	m.b.StopTimer()
	m.b.ReportMetric(float64(bytes)/(1<<20)/time.Since(m.start).Seconds(), "MiB/s")
	m.b.ReportMetric((cpuSeconds()-m.cpu)*(1<<30)/float64(bytes), "cpu-s/GiB")
	m.b.ReportMetric(0, "ns/op")
}

// benchInfo is a torrent of equal pieces, made of pattern.
func benchInfo(pieceLength int64, files, fileLength int) (*metainfo.Info, []byte) {
	pattern := make([]byte, pieceLength)
	for i := range pattern {
		pattern[i] = byte(i*7 + i>>8)
	}
	info := &metainfo.Info{Name: "bench", PieceLength: pieceLength}
	for i := range files {
		info.Files = append(info.Files, metainfo.File{Path: fmt.Sprintf("bench/%d/%d", i/1000, i), Length: int64(fileLength), Offset: info.Total})
		info.Total += int64(fileLength)
	}
	sum := sha1.Sum(pattern)
	for range info.Total / pieceLength {
		info.Sums = append(info.Sums, sum[:]...)
	}
	return info, pattern
}

func benchmarkWrite(b *testing.B, dir string, pieceLength int64, files, fileLength int) {
	info, pattern := benchInfo(pieceLength, files, fileLength)
	s := New(Config{})
	defer s.Close()
	const window = 1200 // blocks under way, as many as requests on a fast line
	room := make(chan struct{}, window)
	var bad atomic.Int64
	var total int64
	blocks := int(pieceLength / piece.BlockSize)
	m := startMeter(b)
	for n := range b.N {
		tor, err := s.Open(Options{Info: info, Dir: filepath.Join(dir, fmt.Sprint(n)), Create: true, Done: func(r Result) {
			if !r.OK {
				bad.Add(1)
			}
			for range blocks {
				<-room
			}
		}})
		if err != nil {
			b.Fatal(err)
		}
		for i := range info.Pieces() {
			for k := range blocks {
				room <- struct{}{}
				buf := s.Alloc()
				copy(buf[:], pattern[k*piece.BlockSize:])
				tor.Write(tor.geo.Block(piece.Index(i), k), buf)
			}
		}
		tor.Flush()
		total += info.Total
		b.StopTimer()
		cpu, start := cpuSeconds(), time.Now()
		if bad.Load() > 0 {
			b.Fatalf("%d bad pieces", bad.Load())
		}
		tor.Remove()
		m.cpu += cpuSeconds() - cpu
		m.start = m.start.Add(time.Since(start))
		b.StartTimer()
	}
	m.report(total)
}

func BenchmarkWrite(b *testing.B) {
	media(b, func(b *testing.B, dir string) {
		b.Run("1MiB", func(b *testing.B) { benchmarkWrite(b, dir, 1<<20, 1, 1<<30) })
		b.Run("10000files", func(b *testing.B) { benchmarkWrite(b, dir, 64<<10, 10_000, 16<<10) })
		b.Run("raw1MiB", func(b *testing.B) { benchmarkRawWrite(b, dir, 1<<20, 1, 1<<30) })
		b.Run("raw10000files", func(b *testing.B) { benchmarkRawWrite(b, dir, 64<<10, 10_000, 16<<10) })
	})
}

// benchmarkRawWrite is the least that has to be done: copy, SHA-1 and pwrite of
// whole pieces in two goroutines, one file made and closed after the other.
func benchmarkRawWrite(b *testing.B, dir string, pieceLength int64, files, fileLength int) {
	_, pattern := benchInfo(pieceLength, 1, int(pieceLength))
	var total int64
	m := startMeter(b)
	for n := range b.N {
		sub := filepath.Join(dir, fmt.Sprint("raw", n))
		os.Mkdir(sub, 0o755)
		var next atomic.Int64
		var wg sync.WaitGroup
		var one *os.File
		if files == 1 {
			one, _ = os.Create(filepath.Join(sub, "one"))
		}
		for range 2 {
			wg.Go(func() {
				buf := make([]byte, pieceLength)
				for i := next.Add(1) - 1; i < int64(files)*int64(fileLength)/pieceLength; i = next.Add(1) - 1 {
					copy(buf, pattern)
					sha1.Sum(buf)
					if one != nil {
						one.WriteAt(buf, i*pieceLength)
						continue
					}
					per := int(pieceLength) / fileLength
					for k := range per {
						f, err := os.OpenFile(filepath.Join(sub, fmt.Sprint(int(i)*per+k)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
						if err != nil {
							b.Error(err)
							return
						}
						f.WriteAt(buf[k*fileLength:(k+1)*fileLength], 0)
						f.Close()
					}
				}
			})
		}
		wg.Wait()
		total += int64(files) * int64(fileLength)
		b.StopTimer()
		cpu, start := cpuSeconds(), time.Now()
		if one != nil {
			one.Close()
		}
		os.RemoveAll(sub)
		m.cpu += cpuSeconds() - cpu
		m.start = m.start.Add(time.Since(start))
		b.StartTimer()
	}
	m.report(total)
}

func BenchmarkVerify(b *testing.B) {
	media(b, func(b *testing.B, dir string) {
		info, pattern := benchInfo(1<<20, 1, 1<<30)
		path := filepath.Join(dir, info.Files[0].Path)
		os.MkdirAll(filepath.Dir(path), 0o755)
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		for i := range info.Pieces() {
			f.WriteAt(pattern, int64(i)<<20)
		}
		f.Sync()
		b.Run("1MiB", func(b *testing.B) {
			s := New(Config{})
			defer s.Close()
			tor, err := s.Open(Options{Info: info, Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			defer tor.Close()
			m := startMeter(b)
			for range b.N {
				bad := 0
				err := tor.Verify(context.Background(), nil, func(_ piece.Index, ok bool) {
					if !ok {
						bad++
					}
				})
				if bad > 0 || err != nil {
					b.Fatalf("%d bad pieces, error %v", bad, err)
				}
			}
			m.report(int64(b.N) * info.Total)
		})
		for _, size := range []int64{256 << 10, 512 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("raw%dKiB", size>>10), func(b *testing.B) {
				m := startMeter(b)
				for range b.N {
					var next atomic.Int64
					var wg sync.WaitGroup
					for range 2 {
						wg.Go(func() {
							buf := make([]byte, size)
							h := sha1.New()
							for i := next.Add(1) - 1; i < info.Total>>20; i = next.Add(1) - 1 {
								h.Reset()
								for at := int64(0); at < 1<<20; at += size {
									f.ReadAt(buf, i<<20+at)
									h.Write(buf)
								}
								h.Sum(nil)
							}
						})
					}
					wg.Wait()
				}
				m.report(int64(b.N) * info.Total)
			})
		}
	})
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	info, _ := benchInfo(1<<20, 1, 64<<20)
	s := New(Config{})
	defer s.Close()
	tor, err := s.Open(Options{Info: info, Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer tor.Close()
	path := filepath.Join(dir, info.Files[0].Path)
	os.MkdirAll(filepath.Dir(path), 0o755)
	if err := os.WriteFile(path, make([]byte, 64<<20), 0o644); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{16 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			dst := make([]byte, size)
			for n := range b.N {
				if err := tor.Read(piece.Index(n%64), 0, dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
