package session

import (
	"math/rand/v2"
	"slices"
	"testing"

	"btd/piece"
)

const kib16 = piece.BlockSize

func runOf(i piece.Index, begin uint32, sizes ...uint32) run {
	r := run{piece: i, begin: begin}
	for _, s := range sizes {
		r.add(s)
	}
	return r
}

// requests lists the requests of runs, in order.
func requests(runs []run) (out []piece.Block) {
	for _, r := range runs {
		at := r.begin
		for _, s := range r.sizes[:r.parts] {
			out = append(out, piece.Block{Piece: r.piece, Begin: at, Length: s})
			at += s
		}
	}
	return out
}

func TestRunCut(t *testing.T) {
	whole := runOf(3, 100, 10, 20, 30, 40)
	for _, x := range []struct {
		name        string
		begin, size uint32
		ok          bool
		left, rest  run
	}{
		{"first", 100, 10, true, runOf(3, 100), runOf(3, 110, 20, 30, 40)},
		{"middle", 110, 20, true, runOf(3, 100, 10), runOf(3, 130, 30, 40)},
		{"last", 160, 40, true, runOf(3, 100, 10, 20, 30), runOf(3, 200)},
		{"other size", 110, 30, false, whole, run{}},
		{"other place", 115, 20, false, whole, run{}},
		{"behind the end", 200, 10, false, whole, run{}},
	} {
		r := whole
		rest, ok := r.cut(x.begin, x.size)
		if ok != x.ok || r.total != x.left.total || rest.total != x.rest.total || rest.begin != x.rest.begin ||
			!slices.Equal(requests([]run{r}), requests([]run{x.left})) ||
			!slices.Equal(requests([]run{rest}), requests([]run{x.rest})) {
			t.Errorf("%s: left %v (%d bytes), rest %v (%d bytes), %t", x.name,
				requests([]run{r}), r.total, requests([]run{rest}), rest.total, ok)
		}
	}
}

// TestOutboxAgainstList puts, takes, withdraws and drops at random and
// compares with a plain list of requests.
func TestOutboxAgainstList(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	o := newOutbox()
	var want []piece.Block
	charged := 0 // for the runs that wait
	for step := range 5000 {
		switch rng.IntN(5) {
		case 0, 1:
			r := run{piece: piece.Index(rng.IntN(3)), begin: uint32(rng.IntN(1 << 20))}
			for range 1 + rng.IntN(5) {
				r.add(uint32(1 + rng.IntN(100) + rng.IntN(2)*rng.IntN(2*kib16)))
			}
			want = append(want, requests([]run{r})...)
			charged += r.cost()
			o.put(nil, []run{r})
		case 2:
			_, r, ok := o.take(nil)
			if !ok {
				t.Fatal("the outbox is closed")
			}
			n := r.parts
			if n > 0 {
				charged -= r.cost()
			}
			if n > len(want) || !slices.Equal(requests([]run{r}), want[:n]) {
				t.Fatalf("step %d: took %v, want the first of %v", step, requests([]run{r}), want)
			}
			want = want[n:]
		case 3:
			if len(want) == 0 {
				continue
			}
			b := want[rng.IntN(len(want))]
			at := slices.Index(want, b) // the first of equal ones
			freed, ok := o.withdraw(b.Piece, b.Begin, b.Length)
			if !ok {
				t.Fatalf("step %d: %v was not found", step, b)
			}
			charged -= freed
			want = slices.Delete(slices.Clone(want), at, at+1)
			if slices.Contains(want, b) {
				break
			}
			if freed, ok := o.withdraw(b.Piece, b.Begin, b.Length); ok || freed != 0 {
				t.Fatalf("step %d: %v was withdrawn twice, which frees %d", step, b, freed)
			}
		case 4:
			if rng.IntN(20) > 0 {
				continue
			}
			dropped := o.drop()
			if got := requests(dropped); !slices.Equal(got, want) {
				t.Fatalf("step %d: dropped %v, want %v", step, got, want)
			}
			want = nil
			for _, r := range dropped {
				charged -= r.cost()
			}
		}
		cost := 0
		for _, r := range o.runs[o.head:] {
			if r.total == 0 || r.parts == 0 {
				t.Fatalf("step %d: an empty run is left", step)
			}
			cost += r.cost()
		}
		if charged != cost {
			t.Fatalf("step %d: %d bytes are charged for runs that cost %d", step, charged, cost)
		}
		if got := requests(o.runs[o.head:]); !slices.Equal(got, want) {
			t.Fatalf("step %d: the outbox holds %v, want %v", step, got, want)
		}
	}
}

func TestOutboxControlGoesFirst(t *testing.T) {
	o := newOutbox()
	if n := o.put([]byte("ab"), []run{runOf(1, 0, kib16), runOf(2, 0, kib16)}); n != 2 {
		t.Errorf("%d control bytes wait, want 2", n)
	}
	if n := o.put([]byte("cd"), nil); n != 4 {
		t.Errorf("%d control bytes wait, want 4", n)
	}
	ctl, r, ok := o.take(nil)
	if string(ctl) != "abcd" || r.piece != 1 || !ok {
		t.Errorf("took %q and piece %d, %t", ctl, r.piece, ok)
	}
	if ctl, r, _ = o.take(ctl[:0]); len(ctl) != 0 || r.piece != 2 {
		t.Errorf("took %q and piece %d", ctl, r.piece)
	}
	if _, r, _ = o.take(nil); r.total != 0 {
		t.Error("there is a third run")
	}
	o.close()
	if _, _, ok = o.take(nil); ok {
		t.Error("the outbox is open after close")
	}
	select {
	case <-o.wake:
	default:
		t.Error("close does not wake the writer")
	}
}

// TestStocked: the loop hears of a run sent when few are left.
func TestStocked(t *testing.T) {
	o := newOutbox()
	runs := make([]run, stock+1)
	for i := range runs {
		runs[i].add(1)
	}
	o.put(nil, runs)
	for left := len(runs) - 1; left >= 0; left-- {
		o.take(nil)
		if got, want := o.stocked(), left >= stock; got != want {
			t.Errorf("%d runs left: stocked %t", left, got)
		}
	}
}
