package main

import (
	"strings"
	"unicode/utf8"
)

// table lays out rows in columns. A head that begins with ">" is of a column
// that is aligned to the right. The last column is never padded, so text of
// any width belongs there.
type table struct {
	heads []string
	rows  [][]string
}

func newTable(heads ...string) *table { return &table{heads: heads} }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// String has the heads first. width cuts lines for a terminal; 0 does not.
func (t *table) text(width int) string {
	heads := make([]string, len(t.heads))
	widths := make([]int, len(t.heads))
	for i, h := range t.heads {
		heads[i] = strings.TrimPrefix(h, ">")
		widths[i] = utf8.RuneCountInString(heads[i])
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range append([][]string{heads}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			right := strings.HasPrefix(t.heads[i], ">")
			if i > 0 {
				line.WriteString("  ")
			}
			if right {
				line.WriteString(pad)
			}
			line.WriteString(cell)
			if !right && i < len(row)-1 {
				line.WriteString(pad)
			}
		}
		b.WriteString(cut(strings.TrimRight(line.String(), " "), width))
		b.WriteByte('\n')
	}
	return b.String()
}

// cut shortens s to n characters; 0 does not.
func cut(s string, n int) string {
	if n <= 0 || utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// printTable fits the lines to a terminal.
func (a *app) printTable(t *table) error {
	width := 0
	if a.outTTY {
		width, _ = a.size()
	}
	return a.print(t.text(width))
}
