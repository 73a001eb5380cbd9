package house

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// page is one text of the repository.
type page struct {
	path string // from the root, slashes
	text string
}

// pages reads every Markdown file.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	err := fs.WalkDir(os.DirFS("../.."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(p) != ".md" {
			return nil
		}
		text, err := os.ReadFile(filepath.Join("../..", filepath.FromSlash(p)))
		all = append(all, page{p, string(text)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// code is what a text shows as code: fenced and indented blocks, line by line,
// and the spans between backquotes.
func code(text string) (lines []string) {
	fenced := false
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced, strings.HasPrefix(line, "    "):
			lines = append(lines, strings.TrimSpace(line))
		default:
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				lines = append(lines, m[1])
			}
		}
	}
	return lines
}

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	linkTo   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	flagName = regexp.MustCompile(`(?:^|\s)--([a-z][a-z-]*)`)
	word     = regexp.MustCompile(`^[a-z][a-z-]*$`)
	useOf    = regexp.MustCompile(`(?:^|[\s(])(btctl|btd)((?:\s+[^|#&;>]+)?)`)
)

func TestReadmeBeginsWithTheTwoCommands(t *testing.T) {
	t.Parallel()
	var blocks []string
	for line := range strings.SplitSeq(readme(t), "\n") {
		if strings.HasPrefix(line, "    ") {
			blocks = append(blocks, strings.TrimSpace(line))
		}
	}
	for i, want := range []string{"go run ./cmd/btd demo", "go test ./..."} {
		if i >= len(blocks) || blocks[i] != want {
			t.Errorf("the README's command number %d is not %q: these two are what a newcomer tries first", i+1, want)
		}
	}
}

// TestLinksResolve follows every link of every text to a file and, where it
// names one, a heading of this repository.
func TestLinksResolve(t *testing.T) {
	t.Parallel()
	links := 0
	for _, p := range pages(t) {
		for _, m := range linkTo.FindAllStringSubmatch(p.text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := p.path
			if file != "" {
				target = path.Join(path.Dir(p.path), file)
			}
			text, err := os.ReadFile(filepath.Join("../..", filepath.FromSlash(target)))
			if err != nil {
				if fi, statErr := os.Stat(filepath.Join("../..", filepath.FromSlash(target))); statErr != nil || !fi.IsDir() {
					t.Errorf("%s links to %s: %v", p.path, m[1], err)
				}
				continue
			}
			if anchor != "" && !slices.Contains(headings(string(text)), anchor) {
				t.Errorf("%s links to %s, but %s has no such heading", p.path, m[1], target)
			}
		}
	}
	if links < 10 {
		t.Errorf("found only %d links: the search is broken", links)
	}
}

// headings are the anchors of a text's headings.
func headings(text string) (anchors []string) {
	fenced := false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		title := strings.TrimLeft(line, "#")
		if fenced || len(title) == len(line) || !strings.HasPrefix(title, " ") {
			continue
		}
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title)))
	}
	return anchors
}

// program is one of ours, asked for its help.
type program struct {
	t    *testing.T
	exe  string
	help map[string]string // by command
}

func build(t *testing.T, name string) *program {
	t.Helper()
	exe := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-o", exe, "./cmd/"+name)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/%s: %v\n%s", name, err, out)
	}
	return &program{t: t, exe: exe, help: map[string]string{}}
}

// usage is the help of a command; no words are the program itself.
func (p *program) usage(words ...string) string {
	p.t.Helper()
	key := strings.Join(words, " ")
	if text, ok := p.help[key]; ok {
		return text
	}
	out, err := exec.Command(p.exe, append(slices.Clone(words), "--help")...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s %s --help: %v\n%s", filepath.Base(p.exe), key, err, out)
	}
	p.help[key] = string(out)
	return p.help[key]
}

// commands are the names that the help of a command lists below it.
func (p *program) commands(words ...string) (names []string) {
	p.t.Helper()
	inside := false
	for line := range strings.SplitSeq(p.usage(words...), "\n") {
		if strings.HasSuffix(line, ":") && !strings.HasPrefix(line, " ") {
			switch line {
			case "Usage:", "Aliases:", "Examples:", "Flags:", "Global Flags:":
				inside = false
			default:
				inside = true
			}
			continue
		}
		f := strings.Fields(line)
		if inside && strings.HasPrefix(line, "  ") && len(f) > 1 && word.MatchString(f[0]) {
			names = append(names, f[0])
		}
	}
	return names
}

// check holds one use of the program against its help, and returns the
// command that is used.
func (p *program) check(where, args string) (command string) {
	name, words := filepath.Base(p.exe), []string(nil)
	for _, w := range strings.Fields(args) {
		if !word.MatchString(w) {
			break
		}
		below := p.commands(words...)
		if !slices.Contains(below, w) {
			if len(words) == 0 && name == "btctl" {
				p.t.Errorf("%s: `%s %s`: there is no command %q", where, name, strings.TrimSpace(args), w)
				return ""
			}
			break // an argument
		}
		words = append(words, w)
	}
	for _, m := range flagName.FindAllStringSubmatch(args, -1) {
		if !strings.Contains(p.usage(words...)+" ", "--"+m[1]+" ") && m[1] != "help" {
			p.t.Errorf("%s: `%s%s`: there is no flag --%s", where, name, args, m[1])
		}
	}
	return strings.Join(words, " ")
}

// TestCommandsInTextsExist runs no command of the texts, but every command and
// flag that they show must be in the help, and the README must show every
// command.
func TestCommandsInTextsExist(t *testing.T) {
	t.Parallel()
	programs := map[string]*program{"btctl": build(t, "btctl"), "btd": build(t, "btd")}
	shown := map[string]bool{}
	for _, p := range pages(t) {
		for _, line := range code(p.text) {
			for _, m := range useOf.FindAllStringSubmatch(line, -1) {
				command := programs[m[1]].check(p.path, m[2])
				if p.path == "README.md" {
					first, _, _ := strings.Cut(command, " ")
					shown[m[1]+" "+first] = true
				}
			}
		}
	}
	all := programs["btctl"].commands()
	if len(all) < 10 {
		t.Fatalf("btctl lists only %v: the search is broken", all)
	}
	for _, name := range all {
		if name != "help" && !shown["btctl "+name] {
			t.Errorf("README.md does not show `btctl %s`", name)
		}
	}
}

// TestReadmeListsEverySetting compares the README's table of settings with
// the daemon's flags, both ways.
func TestReadmeListsEverySetting(t *testing.T) {
	t.Parallel()
	_, table, ok := strings.Cut(readme(t), "| key, and flag")
	if !ok {
		t.Fatal("README.md has no table of settings")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	listed := map[string]bool{}
	for row := range strings.SplitSeq(table, "\n") {
		if cells := strings.Split(row, "|"); len(cells) > 2 {
			for _, m := range codeSpan.FindAllStringSubmatch(cells[1], -1) {
				listed[m[1]] = true
			}
		}
	}
	_, flags, ok := strings.Cut(build(t, "btd").usage(), "\nFlags:\n")
	if !ok {
		t.Fatal("btd --help has no flags: the search is broken")
	}
	for line := range strings.SplitSeq(flags, "\n") {
		m := flagName.FindStringSubmatch(line)
		if m == nil || m[1] == "help" || m[1] == "version" || m[1] == "config" {
			continue
		}
		if !listed[m[1]] {
			t.Errorf("README.md does not list the setting %s", m[1])
		}
		delete(listed, m[1])
	}
	delete(listed, "--") // of the table's head
	for name := range listed {
		t.Errorf("README.md lists the setting %s, which btd does not have", name)
	}
}
