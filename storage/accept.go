package storage

import "context"

// Accept looks at all files as they are, for a caller that knows by other
// means that their content is right: each is opened for reading, which says
// whether it can be served, and is left to the next Sync, since whoever wrote
// it may have done so a moment ago.
func (t *Torrent) Accept(ctx context.Context) ([]FileStat, error) {
	if err := t.gate.enter(); err != nil {
		return nil, err
	}
	defer t.gate.leave()
	for i := range t.info.Files {
		if t.info.Files[i].Pad || t.info.Files[i].Length == 0 {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		h, err := t.acquire(i, false)
		if err != nil {
			return nil, err
		}
		t.release(h)
		t.wrote(i)
	}
	return t.Stat()
}
