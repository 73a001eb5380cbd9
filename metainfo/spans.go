package metainfo

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// readSpans reads 0,2,4,6-8 (BEP 53). Elements that make no sense are left
// out.
func readSpans(s string) []Span {
	var spans []Span
	for word := range strings.SplitSeq(s, ",") {
		if len(spans) == maxMagnetSpans {
			break
		}
		from, to, isRange := strings.Cut(word, "-")
		first, err := strconv.ParseUint(from, 10, 32)
		last := first
		if isRange && err == nil {
			last, err = strconv.ParseUint(to, 10, 32)
		}
		if err == nil && first <= last && first <= maxMagnetIndex {
			spans = append(spans, Span{int(first), int(min(last, maxMagnetIndex))})
		}
	}
	return spans
}

// MergeSpans sorts spans and joins those that touch. At most 1,024 are kept.
func MergeSpans(spans []Span) []Span {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.First, b.First) })
	var out []Span
	for _, s := range spans {
		if n := len(out); n > 0 && s.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, s.Last)
			continue
		}
		out = append(out, s)
	}
	return out[:min(len(out), maxMagnetSpans)]
}

func formatSpans(spans []Span) string {
	words := make([]string, len(spans))
	for i, s := range spans {
		words[i] = strconv.Itoa(s.First)
		if s.Last > s.First {
			words[i] = fmt.Sprintf("%d-%d", s.First, s.Last)
		}
	}
	return strings.Join(words, ",")
}

// Indexes are the files of spans that a torrent of n files has.
func Indexes(spans []Span, n int) []int {
	var out []int
	for _, s := range spans {
		for i := s.First; i <= min(s.Last, n-1); i++ {
			out = append(out, i)
		}
	}
	return out
}
