package house

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// The caps. One is raised only together with the reason.
const (
	maxLines     = 600
	maxTestLines = 1000
	maxFields    = 30
)

// source is one Go file of the repository.
type source struct {
	path string // from the root, slashes
	text []byte
	ast  *ast.File
	fset *token.FileSet
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// sources reads every Go file, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if name != "." && name != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "vendor") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("../..", p)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, p, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{path: filepath.ToSlash(rel), text: text, ast: tree, fset: fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found only %d Go files: the walk is broken", len(all))
	}
	return all
}

func TestFilesStayShort(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		limit := maxLines
		if s.isTest() {
			limit = maxTestLines
		}
		if n := bytes.Count(s.text, []byte("\n")); n > limit {
			t.Errorf("%s has %d lines, at most %d: split it by topic, a long file hides its parts", s.path, n, limit)
		}
	}
}

func TestStructsStayNarrow(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if st, ok := spec.Type.(*ast.StructType); ok && !exempt(s.path, spec.Name.Name) {
				if n := fields(st); n > maxFields {
					t.Errorf("%s: struct %s has %d fields, at most %d: group them in parts that own their methods",
						s.path, spec.Name.Name, n, maxFields)
				}
			}
			return true
		})
	}
}

// exempt are plain pictures without behaviour: a record that is shown or
// stored grows with what is worth showing, not with what it does.
func exempt(file, name string) bool {
	switch {
	case file == "session/view.go", strings.HasPrefix(file, "api/client/"):
		return true
	case file == "storage/resume/record.go" && name == "Record":
		return true
	}
	return false
}

func fields(st *ast.StructType) int {
	n := 0
	for _, f := range st.Fields.List {
		n += max(1, len(f.Names))
	}
	return n
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, s := range sources(t) {
		dir := path.Dir(s.path)
		documented[dir] = documented[dir] || (!s.isTest() && s.ast.Doc != nil)
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment: say what it does, what it refuses to do, and which BEPs it is about", dir)
		}
	}
}

func TestNoCatchAllPackages(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		switch name := s.ast.Name.Name; name {
		case "util", "utils", "common", "types", "helper", "helpers", "misc", "base":
			t.Errorf("%s: package %s says nothing about what is in it; put the code where it is used", s.path, name)
		}
	}
}

func TestNoInit(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function: code that runs because it is linked in makes two sessions in one process see each other", s.path)
			}
		}
	}
}

// TestTopLevel holds the tree to its plan: code in few folders, and docs with
// nothing but text.
func TestTopLevel(t *testing.T) {
	t.Parallel()
	known := map[string]string{
		"api": "code", "choker": "code", "cmd": "code", "dht": "code", "metainfo": "code", "peerwire": "code",
		"piece": "code", "session": "code", "storage": "code", "tracker": "code",
		"test": "tests that need several programs", "docs": "words", "packaging": "files for installing",
	}
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "bin" && known[e.Name()] == "" {
			t.Errorf("%s/ is not a folder of the plan (ARCHITECTURE.md): code goes into the packages that exist", e.Name())
		}
		if !e.IsDir() && filepath.Ext(e.Name()) == ".go" {
			t.Errorf("%s lies in the root: code goes into a package", e.Name())
		}
	}
	err = filepath.WalkDir("../../docs", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch filepath.Ext(p) {
		case ".md", ".svg", ".png":
		default:
			t.Errorf("%s: docs is for words and pictures; what runs belongs beside the code", p)
		}
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}
