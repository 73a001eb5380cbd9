package resume

// trimBytes is how much may be read through the mapping before its pages are
// taken out of the process again. They stay in the page cache.
const trimBytes = 8 << 20

// pages counts bytes that were read through the mapping, and wakes the writer
// when it is time to trim it.
func (d *DB) pages(n int) {
	if m := d.mapped.Add(int64(n)); m >= trimBytes && m-int64(n) < trimBytes {
		d.enqueue(&op{apply: func(*buckets) (bool, error) { return false, nil }, done: func(error) {}})
	}
}
