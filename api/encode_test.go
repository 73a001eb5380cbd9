package api

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"btd/api/client"
	"btd/session"
)

// TestTorrentsAreEncodedAsByTheLibrary fills every field, the ones of the
// future too.
func TestTorrentsAreEncodedAsByTheLibrary(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	texts := []string{"", "plain", `quote " back \ slash`, "<&>", "héllo 世界", "\x00\x1f\x7f", "bad \xff utf-8", "\u2028", "tab\t"}
	floats := []float64{0, 1, 0.5, 1.0 / 3, -1, 1e-7, 1e21, 123456789.125, math.MaxFloat64, math.SmallestNonzeroFloat64}
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			v.SetString(texts[rng.IntN(len(texts))])
		case reflect.Bool:
			v.SetBool(rng.IntN(2) == 0)
		case reflect.Int, reflect.Int64:
			v.SetInt(rng.Int64() - rng.Int64())
		case reflect.Float64:
			v.SetFloat(floats[rng.IntN(len(floats))])
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() {
				if rng.IntN(3) > 0 {
					v.Set(reflect.ValueOf(moment(time.Unix(rng.Int64N(4e9), rng.Int64N(1e9)))))
				}
				return
			}
			for i := range v.NumField() {
				fill(v.Field(i))
			}
		case reflect.Pointer:
			v.SetZero()
			if rng.IntN(2) == 0 {
				v.Set(reflect.New(v.Type().Elem()))
				fill(v.Elem())
			}
		default:
			t.Fatalf("a field of kind %s: teach this test and appendTorrent", v.Kind())
		}
	}
	for range 2000 {
		var x client.Torrent
		fill(reflect.ValueOf(&x).Elem())
		want, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendTorrent(nil, &x); string(got) != string(want) {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

func TestTimesWithoutAYearOfFourDigits(t *testing.T) {
	x := client.Torrent{Added: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)}
	var back client.Torrent
	if err := json.Unmarshal(appendTorrent(nil, &x), &back); err != nil || !back.Added.IsZero() {
		t.Errorf("%v, %v", back.Added, err)
	}
}

func TestNumbersThatJSONLacks(t *testing.T) {
	s := torrentOf(1)
	s.Checked, s.Options.RatioLimit, s.Wanted = math.NaN(), math.Inf(1), 0
	got := fromTorrent(&s)
	if _, err := json.Marshal(got); err != nil || got.Progress != 1 {
		t.Errorf("%v, progress %v", err, got.Progress)
	}
}

func TestConversions(t *testing.T) {
	for p, want := range map[session.Priority]string{-1: "skip", 0: "skip", 1: "low", 3: "low", 4: "normal", 5: "high", 7: "high"} {
		if got := fromPriority(p); got != want {
			t.Errorf("priority %d = %s, want %s", p, got, want)
		}
	}
	// 0 has a meaning of its own, and must not come from rounding.
	for d, want := range map[time.Duration]int64{0: 0, time.Hour: 3600, time.Millisecond: 1, -1: -1, -time.Hour: -3600} {
		if got := signedSeconds(d); got != want {
			t.Errorf("%v = %d s, want %d", d, got, want)
		}
	}
	for in, want := range map[float64]float64{-1: 0, 0.5: 0.5, 2: 1} {
		if got := fraction(in); got != want {
			t.Errorf("fraction %v = %v, want %v", in, got, want)
		}
	}
}
