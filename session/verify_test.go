package session

import "testing"

// TestVerifyShowsAtOnce: a seed is not taken for complete before the check that
// was asked for has begun, with a loop or without.
func TestVerifyShowsAtOnce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"idle", "stopped", "with a loop"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := makeContent(t, 32<<10, map[string]int{"": 300000})
			s := seedOf(t, c, func(cfg *Config) { cfg.ActiveChecks = 1 })
			e := s.byWire(c.meta.Hash.Wire())
			was, end := StateSeeding, func() error { return s.halt(t.Context(), e) }
			switch name {
			case "stopped":
				was, end = StateStopped, func() error { return s.Stop(t.Context(), c.meta.Hash) }
			case "with a loop":
				end = func() error { inLoop(t, s, c, func(*torrent) {}); return nil }
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			s.checks <- struct{}{} // no check gets its turn
			err := s.Verify(t.Context(), c.meta.Hash)
			v := e.picture()
			<-s.checks
			if err != nil || v.State != StateChecking || v.Checked != 0 {
				t.Errorf("it is %s, %g checked, %v", v.State, v.Checked, err)
			}
			await(t, s, c, "the end of the check", func(v Torrent) bool { return v.State == was && v.PiecesHave == v.Pieces })
		})
	}
}
