package resume

import "fmt"

// AddStored is Add for a torrent whose data is there already: c, which must
// be of the same torrent, is recorded in the same transaction.
func (d *DB) AddStored(rec Record, metainfo []byte, c Commit) error {
	if c.Hash != rec.Hash {
		return fmt.Errorf("resume: adding %v: the commit is of %v", rec.Hash, c.Hash)
	}
	if err := c.check(); err != nil {
		return err
	}
	o, err := addOp(rec, metainfo)
	if err != nil {
		return err
	}
	add := o.apply
	return d.do(o.size+512+len(c.Clean)*32, func(b *buckets) (bool, error) {
		if _, err := add(b); err != nil {
			return false, err
		}
		_, err := b.commit(&c)
		return true, err
	})
}
