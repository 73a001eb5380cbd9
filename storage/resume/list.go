package resume

import (
	"bytes"

	"go.etcd.io/bbolt"
)

// List returns the values whose keys begin with prefix, by what follows it. A
// value that cannot be read is left out.
func (d *DB) List(prefix string) (map[string][]byte, error) {
	out := map[string][]byte{}
	size := 0
	err := d.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketKV).Cursor()
		for k, v := c.Seek([]byte(prefix)); bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			p, err := unseal(k, kvVersion, v)
			if err != nil {
				d.log.Warn("a value of the resume database cannot be read and is left out", "key", string(k), "err", err)
				continue
			}
			size += len(v)
			out[string(k[len(prefix):])] = bytes.Clone(p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.pages(size)
	return out, nil
}
