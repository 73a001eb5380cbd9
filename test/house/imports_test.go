package house

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// goPackage is what `go list` tells of one package.
type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string // of all imports, transitively
}

const module = "btd/"

// list runs `go list` in the module's root, for every operating system that
// the files have constraints for, since an import may hide in one. Packages
// that don't load are another test's business (-e).
func list(t *testing.T) []goPackage {
	t.Helper()
	seen := map[string]*goPackage{}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,Deps", "./...")
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		var problems bytes.Buffer
		cmd.Stderr = &problems
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list for %s: %v\n%s", goos, err, problems.String())
		}
		for dec := json.NewDecoder(bytes.NewReader(out)); ; {
			var p goPackage
			if err := dec.Decode(&p); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			have := seen[p.ImportPath]
			if have == nil {
				seen[p.ImportPath] = &p
				continue
			}
			have.Imports = union(have.Imports, p.Imports)
			have.Deps = union(have.Deps, p.Deps)
		}
	}
	var all []goPackage
	for _, p := range seen {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b goPackage) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	return all
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// layer is one row of the table of imports: what a package may use of this
// module, by package name below it. Sub-packages have a row of their own.
type layer struct {
	may []string
	why string
}

const pure = "it is pure: decisions and codecs come without a network, a disk or a torrent, so that they can be tested alone"

// table says which packages of this module each package may import. Imports
// run one way, and siblings never import each other:
//
//	cmd/btctl -> api/client <- api <- cmd/btd
//	                           api -> session -> peerwire, tracker, dht, storage -> piece, choker, metainfo
var table = map[string]layer{
	"metainfo":          {nil, "it is what everything else talks about, so it knows nobody"},
	"metainfo/create":   {[]string{"metainfo", "piece/sha1x"}, "it hashes what is on disk, which metainfo must not open; whoever makes a torrent needs no storage, no session and no daemon"},
	"piece":             {nil, pure},
	"piece/sha1x":       {nil, pure},
	"choker":            {nil, pure},
	"peerwire":          {[]string{"piece", "metainfo"}, "it turns bytes into messages and knows neither torrents nor policy"},
	"peerwire/mse":      {nil, "it is an encrypted net.Conn and nothing else"},
	"peerwire/secure":   {[]string{"metainfo"}, "it is a channel between those who hold a secret, and knows nothing of what goes through it"},
	"peerwire/utp":      {nil, "it is a transport and nothing else"},
	"tracker":           {[]string{"metainfo"}, "it asks trackers, and does not know who needs the answer"},
	"tracker/server":    {[]string{"metainfo"}, "it answers announces, and shares no code with the client whose mistakes it would then share"},
	"tracker/lsd":       {[]string{"metainfo"}, "it announces on the local network, and does not know who listens"},
	"dht":               {[]string{"metainfo", "dht/krpc", "dht/contact", "dht/table", "dht/lookup", "dht/store"}, "it is a node of its own and never calls back into torrents"},
	"dht/krpc":          {nil, pure},
	"dht/contact":       {[]string{"dht/krpc"}, pure},
	"dht/table":         {[]string{"dht/krpc", "dht/contact"}, pure},
	"dht/lookup":        {[]string{"dht/krpc", "dht/contact"}, pure},
	"dht/store":         {[]string{"dht/krpc", "dht/contact"}, pure},
	"dht/world":         {[]string{"dht", "dht/krpc", "dht/contact", "dht/table", "dht/lookup", "dht/store"}, "it is a simulated network for tests"},
	"storage":           {[]string{"piece", "piece/sha1x", "metainfo"}, "it moves blocks to and from files; what they are for is the session's business"},
	"storage/resume":    {[]string{"piece", "metainfo"}, "it remembers; it must not be able to touch the data that it speaks of"},
	"session/addrbook":  {[]string{"piece", "metainfo"}, pure},
	"session/shaper":    {[]string{"piece", "metainfo"}, pure},
	"session/metafetch": {nil, pure},
	"session/pexset":    {[]string{"peerwire"}, pure},
	"session/dhtpace":   {nil, pure},
	"session/follow":    {nil, pure},
	"session": {[]string{
		"metainfo", "piece", "choker", "peerwire", "peerwire/mse", "peerwire/secure", "peerwire/utp", "tracker", "tracker/lsd", "dht", "dht/krpc", "dht/lookup",
		"storage", "storage/resume", "session/addrbook", "session/shaper", "session/superseed",
		"session/metafetch", "session/pexset", "session/dhtpace", "session/follow",
	}, "it wires the parts together and is known only to those above it"},

	"session/superseed": {[]string{"piece"}, pure},

	"api/client": {nil, "programs of other people import it, so it needs the standard library only"},
	"api":        {[]string{"api/client", "session", "metainfo", "piece"}, "it validates and translates; torrents are the session's"},
	"cmd/btctl":  {[]string{"api/client", "metainfo", "metainfo/create"}, "whatever it can do, any program can do through the API; torrents are made and read without a daemon"},
	"cmd/btd": {[]string{
		"api", "api/client", "session", "metainfo", "metainfo/create", "piece", "storage", "storage/resume", "tracker", "tracker/server", "dht",
	}, "it reads flags and wires; there is no logic in it"},
}

// outside limits which modules of others a package may use. A package that
// has no row may use what go.mod holds.
var outside = map[string]layer{
	"piece":             {nil, pure},
	"piece/sha1x":       {[]string{"golang.org/x/sys/cpu"}, pure},
	"choker":            {nil, pure},
	"api/client":        {nil, "programs of other people import it, so it needs the standard library only"},
	"session/addrbook":  {[]string{"golang.org/x/time/rate"}, pure},
	"session/shaper":    {[]string{"golang.org/x/time/rate"}, pure},
	"session/metafetch": {nil, pure},
	"session/pexset":    {nil, pure},
	"session/dhtpace":   {nil, pure},
	"session/follow":    {nil, pure},
	"dht":               {[]string{"golang.org/x/sys/unix"}, "what it needs of others is an id, and that comes through dht/krpc"},
	"dht/krpc":          {[]string{"github.com/anacrolix/dht/v2/int160"}, pure},
	"dht/contact":       {nil, pure},
	"dht/table":         {nil, pure},
	"dht/lookup":        {nil, pure},
	"dht/store":         {nil, pure},

	"session/superseed": {nil, pure},
}

// forbidden packages, and why.
var forbidden = map[string]string{
	"github.com/anacrolix/torrent": "the root package is a whole client with hundreds of dependencies; only its bencode package is used",
	"github.com/anacrolix/dht/v2":  "its server can be stopped by one packet; it is the other party in tests only",
}

func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	packages := list(t)
	for _, p := range packages {
		name, ok := strings.CutPrefix(p.ImportPath, module)
		if !ok {
			continue
		}
		for _, dep := range p.Deps {
			if why, bad := forbidden[dep]; bad {
				t.Errorf("%s depends on %s: %s", name, dep, why)
			}
		}
		if strings.HasPrefix(name, "test/") {
			continue // tests may look at everything, and nobody imports them
		}
		row, ok := rowOf(name)
		if !ok {
			t.Errorf("package %s is not in the table of imports (test/house): say there what it may use, and why it exists (ARCHITECTURE.md)", name)
			continue
		}
		for _, imp := range p.Imports {
			inner, ours := strings.CutPrefix(imp, module)
			if ours && inner != name && !strings.HasPrefix(inner, name+"/internal") && !slices.Contains(row.may, inner) {
				t.Errorf("%s imports %s: it may import only %v of this module, because %s", name, inner, row.may, row.why)
			}
		}
		if row, ok := outside[name]; ok {
			for _, imp := range p.Imports {
				if strings.Contains(firstElement(imp), ".") && !slices.Contains(row.may, imp) {
					t.Errorf("%s imports %s: it may use only the standard library and %v, because %s", name, imp, row.may, row.why)
				}
			}
		}
	}
}

// rowOf is the row of a package, or of the closest one above it for packages
// that are internal to it.
func rowOf(name string) (layer, bool) {
	if at := strings.Index(name, "/internal"); at >= 0 {
		name = name[:at]
	}
	row, ok := table[name]
	return row, ok
}

func firstElement(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}
