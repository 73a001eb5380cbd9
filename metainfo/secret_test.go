package metainfo

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func newSecret(t testing.TB) Secret {
	t.Helper()
	s, err := NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSecretTextIsReadBack(t *testing.T) {
	for range 10000 {
		s := newSecret(t)
		text := s.String()
		if len(text) != secretText || strings.ContainsAny(text, "+/=") {
			t.Fatalf("the text is %q", text)
		}
		if back, err := ParseSecret(text); err != nil || back != s {
			t.Fatalf("%q is read as %x, %v", text, back[:], err)
		}
	}
}

func TestNewSecretNeedsRandomBytes(t *testing.T) {
	if _, err := NewSecret(strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of five bytes: %v", err)
	}
	if _, err := NewSecret(zeros{}); err == nil {
		t.Error("a source of zeros makes a secret")
	}
	short := append(make([]byte, 32), newSecret(t).bytes()...) // the first draw is zeros
	if s, err := NewSecret(bytes.NewReader(short)); err != nil || s.IsZero() {
		t.Errorf("a weak draw is not followed by another: %v", err)
	}
}

func (s Secret) bytes() []byte { return s[:] }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestPassPhrasesAreRefused(t *testing.T) {
	good := newSecret(t).String()
	for text, want := range map[string]string{
		"":                          "pass-phrase",
		"hunter2":                   "pass-phrase",
		good[:42]:                   "pass-phrase",
		good + "A":                  "pass-phrase",
		good[:42] + "=":             "letters, digits",
		good[:42] + "!":             "letters, digits",
		good[:20] + "+" + good[21:]: "letters, digits",
		good[:42] + "B":             "one of 16", // bits beyond the 256
		strings.Repeat("A", 43):     "pass-phrase",
		"correct-horse-battery-staple-and-more-wordA": "pass-phrase",
		strings.Repeat("aB3", 14) + "A":               "pass-phrase",
		good[:40] + "\n\n" + good[42:]:                "letters, digits",
		good[:42] + "é":                               "pass-phrase",
	} {
		s, err := ParseSecret(text)
		if !errors.Is(err, ErrSecret) || !strings.Contains(err.Error(), want) || !s.IsZero() {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		} else if len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Errorf("%q: the error shows it: %v", text, err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	s := newSecret(t)
	m := Magnet{Hash: V1([20]byte{1}), Secret: s}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "secret", s, "pointer", &s, "link", m, "list", []Secret{s})
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b"} {
		fmt.Fprintf(&log, verb+verb+verb, s, &s, m)
	}
	if b, err := json.Marshal(m); err == nil {
		t.Errorf("it is encoded as %s", b)
	}
	hex, list := fmt.Sprintf("%x", s[:]), strings.Trim(fmt.Sprint(s[:]), "[]")
	for _, form := range []string{s.String(), hex, strings.ToUpper(hex), list, strings.ReplaceAll(list, " ", ",")} {
		if strings.Contains(log.String(), form) {
			t.Errorf("the secret is printed:\n%s", log.String())
		}
	}
	if !strings.Contains(log.String(), "[secret]") || fmt.Sprint(Secret{}) != "none" {
		t.Error("it is not printed that there is one, or none")
	}
}

func TestMask(t *testing.T) {
	var s Secret
	for i := range s {
		s[i] = byte(i)
	}
	v1 := V1([20]byte{1, 2, 3})
	const want = "ff0193d8cead3ddbbe1204358c530cb7998e20c4" // by Python's hmac module
	if got := s.Mask(v1).String(); got != want {
		t.Errorf("mask %s, want %s", got, want)
	}
	if s.Mask(v1.WithV2([32]byte{9})) != s.Mask(v1) {
		t.Error("a hybrid is not masked by its v1 hash")
	}
	if got := (Secret{}).Mask(v1); got != v1 {
		t.Errorf("without a secret the hash becomes %v", got)
	}
	if newSecret(t).Mask(v1) == s.Mask(v1) || s.Mask(V1([20]byte{1, 2, 4})) == s.Mask(v1) {
		t.Error("masks do not depend on secret and hash")
	}
}

func TestMagnetSecret(t *testing.T) {
	s := newSecret(t)
	link := "magnet:?xt=urn:btih:" + hashHex + "&dn=a&tr=http://192.0.2.1:6969/announce#" + s.String()
	m, err := ParseMagnet(link)
	if err != nil || m.Secret != s || len(m.Trackers) != 1 || m.Trackers[0] != "http://192.0.2.1:6969/announce" {
		t.Fatalf("read as %+v, %v", m, err)
	}
	if again, err := ParseMagnet(m.String()); err != nil || !reflect.DeepEqual(again, m) {
		t.Errorf("written as %d bytes, which are read as %+v, %v", len(m.String()), again, err)
	}
	for more, want := range map[string]string{
		"":                            "pass-phrase",
		"hunter2":                     "pass-phrase",
		s.String() + "&dn=x":          "pass-phrase",
		s.String() + "#" + s.String(): "pass-phrase",
		s.String()[:41]:               "pass-phrase",
	} {
		if m, err := ParseMagnet("magnet:?xt=urn:btih:" + hashHex + "#" + more); !errors.Is(err, ErrMagnet) || !errors.Is(err, ErrSecret) || !strings.Contains(err.Error(), want) {
			t.Errorf("#%s: got %+v, %v, want an error with %q", more, m, err, want)
		} else if len(more) > 7 && strings.Contains(err.Error(), more[:8]) {
			t.Errorf("#%s: the error shows it: %v", more, err)
		}
	}
	for _, last := range []string{"dn=a", "tr=http://192.0.2.1:6969/announce", "x.scope=lan", "x=y"} {
		link := "magnet:?xt=urn:btih:" + hashHex + "&" + last + "%23" + s.String()
		if m, err := ParseMagnet(link); !errors.Is(err, ErrMagnet) || !strings.Contains(err.Error(), "%23") || strings.Contains(strings.ToLower(err.Error()), strings.ToLower(s.String())) {
			t.Errorf("a # that was escaped behind %s: %+v, %v", last, m, err)
		}
	}
	if m, err := ParseMagnet("magnet:?xt=urn:btih:" + hashHex + "&dn=track%20%231"); err != nil || m.Name != "track #1" {
		t.Errorf("a name with a #: %+v, %v", m, err)
	}
	if m, err := ParseMagnet("magnet:?xs=urn:btpk:" + keyHex + "#" + s.String()); !errors.Is(err, ErrMagnet) {
		t.Errorf("a key with a secret: %+v, %v", m, err)
	}
}

func FuzzSecret(f *testing.F) {
	f.Add("hunter2")
	f.Add(strings.Repeat("A", 43))
	f.Add("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecret(text)
		switch {
		case err == nil && (s.String() != text || s.IsZero()):
			t.Fatalf("%q is written as %q", text, s.String())
		case err != nil && (!errors.Is(err, ErrSecret) || !s.IsZero()):
			t.Fatalf("%q: %v", text, err)
		}
	})
}
