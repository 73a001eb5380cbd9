// Package house holds the repository to its own rules: which package may
// import which, that every package says what it is for, how long a file and
// how wide a struct may grow, and what may stand in docs. The rules are
// tests, so that breaking one fails with the reason.
package house
