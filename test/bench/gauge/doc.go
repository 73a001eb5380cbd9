// Package gauge is what the programs that measure btd have in common: what a
// process uses, and a file of results as report.py reads it.
package gauge
