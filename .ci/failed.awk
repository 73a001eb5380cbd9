# Of the output of `go test -v`: what the tests and subtests say that failed, and the results of the packages. Of a
# package that failed without a failed test (it did not build, it panicked, it ran out of time) the end of what it
# printed.
function keep(name, line) { said[name] = said[name] line "\n"; all[++lines] = line }

/^ *=== (RUN|NAME|CONT|PAUSE) / { current = $3; next }
/^ *--- (PASS|FAIL|SKIP): / {
  current = $3
  if ($2 == "FAIL:") {
    bad[++failed] = current
    keep(current, $0)
  }
  next
}
/^(ok|FAIL|\?)[ \t]+[^ \t]/ {
  if ($1 == "FAIL") {
    for (i = 1; i <= failed; i++) printf "%s", said[bad[i]]
    for (i = (!failed && lines > 300) ? lines - 299 : 1; !failed && i <= lines; i++) print all[i]
  }
  if ($1 != "?") print
  split("", said); split("", bad); split("", all)
  failed = lines = 0; current = ""
  next
}
/^(FAIL|PASS)$/ { next }
{ keep(current, $0) }
END { for (i = 1; i <= lines; i++) print all[i] }
