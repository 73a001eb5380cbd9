package session

import (
	"testing"
	"time"

	"btd/metainfo"
)

func TestEventsComeInOrder(t *testing.T) {
	c := makeContent(t, 64<<10, map[string]int{"": 3 << 20})
	seed := seedOf(t, c, nil)
	s := open(t, nil)
	events, cancel, lost := s.Subscribe(0)
	defer cancel()
	if lost {
		t.Error("a new subscriber is told that events were lost")
	}
	add(t, s, c, AddOptions{Peers: addrs(seed)})
	await(t, s, c, "completion", complete)
	if err := s.Remove(t.Context(), c.meta.Hash, true); err != nil {
		t.Fatal(err)
	}
	order := map[EventKind]int{}
	var last uint64
	timeout := time.After(patience)
	for n := 1; order[EventRemoved] == 0; n++ {
		select {
		case ev, ok := <-events:
			if !ok {
				t.Fatal("the stream ended")
			}
			if last != 0 && ev.Seq != last+1 {
				t.Errorf("event %d after %d", ev.Seq, last)
			}
			last = ev.Seq
			if order[ev.Kind] == 0 {
				order[ev.Kind] = n
			}
		case <-timeout:
			t.Fatalf("no end of the stream: %v", order)
		}
	}
	if !(order[EventAdded] == 1 && order[EventAdded] < order[EventState] &&
		order[EventState] < order[EventCompleted] && order[EventCompleted] < order[EventRemoved]) {
		t.Errorf("first of each kind: %v", order)
	}
}

func TestSubscriberComesBack(t *testing.T) {
	h := newHub()
	for range 5 {
		h.publish(EventState, metainfo.Hash{}, nil, "")
	}
	events, cancel, lost := h.subscribe(3)
	if lost || (<-events).Seq != 4 || (<-events).Seq != 5 {
		t.Error("events 4 and 5 were not replayed")
	}
	cancel()
	if _, ok := <-events; ok {
		t.Error("the stream goes on after cancel")
	}
	for range hubHistory + 10 {
		h.publish(EventState, metainfo.Hash{}, nil, "")
	}
	events, cancel, lost = h.subscribe(3)
	defer cancel()
	if !lost {
		t.Error("the subscriber was not told that events are gone")
	}
	if ev := <-events; ev.Seq != 5+10+1 {
		t.Errorf("the replay begins at %d, want %d", ev.Seq, 16)
	}
}

func TestSlowSubscriberIsCutOff(t *testing.T) {
	h := newHub()
	events, _, _ := h.subscribe(0)
	for range hubHistory + hubSubscriber + 1 {
		h.publish(EventState, metainfo.Hash{}, nil, "")
	}
	n := 0
	for range events {
		n++
	}
	if n != hubHistory+hubSubscriber {
		t.Errorf("%d events before the end, want %d", n, hubHistory+hubSubscriber)
	}
}
