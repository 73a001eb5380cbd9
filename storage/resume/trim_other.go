//go:build !linux

package resume

func (d *DB) trim() {}
