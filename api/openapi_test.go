package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"btd/api/client"
)

type document struct {
	Paths      map[string]map[string]any `yaml:"paths"`
	Components struct {
		Schemas map[string]schema `yaml:"schemas"`
	} `yaml:"components"`
}

type schema struct {
	Type       string            `yaml:"type"`
	Properties map[string]schema `yaml:"properties"`
	Required   []string          `yaml:"required"`
	Ref        string            `yaml:"$ref"`
	Items      *schema           `yaml:"items"`
	Enum       []string          `yaml:"enum"`
	Additional any               `yaml:"additionalProperties"`
}

func readDocument(t *testing.T) document {
	t.Helper()
	var d document
	if err := yaml.Unmarshal(openapiYAML, &d); err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	return d
}

func TestEveryRouteIsDescribed(t *testing.T) {
	d := readDocument(t)
	var served, described []string
	for _, rt := range table() {
		served = append(served, rt.method+" "+rt.path)
	}
	ids := map[string]bool{}
	for path, item := range d.Paths {
		for key, op := range item {
			if key == "parameters" {
				continue
			}
			described = append(described, strings.ToUpper(key)+" "+path)
			id, _ := op.(map[string]any)["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s %s: operationId %q is missing or used twice", key, path, id)
			}
			ids[id] = true
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		t.Errorf("served and described differ\nserved:    %s\ndescribed: %s", strings.Join(served, ", "), strings.Join(described, ", "))
	}
}

func TestEveryDescribedRouteIsServed(t *testing.T) {
	p := serve(t, newFake(2), nil)
	id := hashOf(1).String()
	for path, item := range readDocument(t).Paths {
		if path == "/v1/events" {
			continue // does not end; TestEvents* hold it
		}
		for key := range item {
			if key == "parameters" {
				continue
			}
			code, body := p.do(t, strings.ToUpper(key), strings.ReplaceAll(path, "{id}", id), "application/json", "")
			if code == 404 || code == 405 || code >= 500 {
				t.Errorf("%s %s = %d %s", key, path, code, body)
			}
		}
	}
}

func TestEveryParameterIsDescribed(t *testing.T) {
	d := readDocument(t)
	for _, rt := range table() {
		op, _ := d.Paths[rt.path][strings.ToLower(rt.method)].(map[string]any)
		var described []string
		list, _ := op["parameters"].([]any)
		for _, v := range list {
			p, _ := v.(map[string]any)
			if p["in"] == "query" {
				described = append(described, fmt.Sprint(p["name"]))
			}
		}
		known := slices.Clone(rt.query)
		slices.Sort(known)
		slices.Sort(described)
		if !slices.Equal(known, described) {
			t.Errorf("%s %s: parameters known %v, described %v", rt.method, rt.path, known, described)
		}
		if _, body := op["requestBody"]; body != rt.body {
			t.Errorf("%s %s: body read %t, described %t", rt.method, rt.path, rt.body, body)
		}
	}
}

// bodies are the types of all bodies.
func bodies() []any {
	return []any{
		client.ErrorResponse{},
		client.TorrentList{},
		client.AddRequest{},
		client.AddResponse{},
		client.TorrentPatch{},
		client.FileList{},
		client.PrioritiesRequest{},
		client.PeerList{},
		client.PeersRequest{},
		client.TrackerList{},
		client.TrackersRequest{},
		client.Pieces{},
		client.Stats{},
		client.LimitsPatch{},
		client.Version{},
		client.Event{},
		client.DHTStats{},
		client.DHTEvent{},
		client.DHTItem{},
		client.DHTPutRequest{},
		client.DHTPutResponse{},
		client.DHTSamples{},
		client.TrackerServer{},
		client.ShareResponse{},
		client.RegistrationList{},
		client.RegisterRequest{},
		client.FollowList{},
		client.FollowRequest{},
		client.PublicationList{},
		client.PublishRequest{},
	}
}

// isRequest tells bodies that clients send, in which everything is optional.
func isRequest(name string) bool {
	return strings.HasSuffix(name, "Request") || strings.HasSuffix(name, "Patch")
}

func TestEveryFieldIsDescribed(t *testing.T) {
	d := readDocument(t)
	seen := map[string]bool{}
	for _, v := range bodies() {
		compare(t, d, reflect.TypeOf(v), seen)
	}
	for name := range d.Components.Schemas {
		if !seen[name] {
			t.Errorf("schema %s describes no type", name)
		}
	}
}

func compare(t *testing.T, d document, typ reflect.Type, seen map[string]bool) {
	t.Helper()
	name := typ.Name()
	if seen[name] {
		return
	}
	seen[name] = true
	s, ok := d.Components.Schemas[name]
	if !ok {
		t.Errorf("type %s has no schema", name)
		return
	}
	if isRequest(name) != (s.Additional == false) {
		t.Errorf("schema %s: additionalProperties is %v, want false for requests alone", name, s.Additional)
	}
	var fields, required []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "-" {
			continue
		}
		fields = append(fields, tag)
		if !strings.Contains(opts, "omit") && !isRequest(name) {
			required = append(required, tag)
		}
		prop, ok := s.Properties[tag]
		if !ok {
			t.Errorf("field %s.%s is not described", name, tag)
			continue
		}
		compareField(t, d, name+"."+tag, f.Type, prop, seen)
	}
	for prop := range s.Properties {
		if !slices.Contains(fields, prop) {
			t.Errorf("schema %s describes %s, which the type lacks", name, prop)
		}
	}
	sort.Strings(required)
	sort.Strings(s.Required)
	if !slices.Equal(required, s.Required) {
		t.Errorf("schema %s: required %v, want %v", name, s.Required, required)
	}
}

func compareField(t *testing.T, d document, where string, typ reflect.Type, s schema, seen map[string]bool) {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := ""
	switch k := typ.Kind(); {
	case typ == reflect.TypeFor[time.Time](), k == reflect.String:
		want = "string"
	case typ == reflect.TypeFor[[]byte]():
		want = "string"
	case k == reflect.Slice:
		want = "array"
		if e := typ.Elem(); e.Kind() == reflect.Struct {
			if s.Items == nil || s.Items.Ref != "#/components/schemas/"+e.Name() {
				t.Errorf("%s: items are not %s", where, e.Name())
			}
			compare(t, d, e, seen)
		}
	case k == reflect.Struct:
		if s.Ref != "#/components/schemas/"+typ.Name() {
			t.Errorf("%s: refers to %q, want %s", where, s.Ref, typ.Name())
		}
		compare(t, d, typ, seen)
		return
	case k == reflect.Map:
		want = "object"
	case k == reflect.Bool:
		want = "boolean"
	case k == reflect.Float64:
		want = "number"
	default:
		want = "integer"
	}
	if s.Type != want {
		t.Errorf("%s: type %q, want %s", where, s.Type, want)
	}
}

func TestEveryReferenceResolves(t *testing.T) {
	d := readDocument(t)
	for _, m := range regexp.MustCompile(`\$ref: "#/components/schemas/(\w+)"`).FindAllSubmatch(openapiYAML, -1) {
		if _, ok := d.Components.Schemas[string(m[1])]; !ok {
			t.Errorf("there is no schema %s", m[1])
		}
	}
}

func TestEveryCodeIsDescribed(t *testing.T) {
	codes := []string{
		client.CodeInvalid, client.CodeUnauthorized, client.CodeForbidden, client.CodeNotFound,
		client.CodeMethodNotAllowed, client.CodeConflict, client.CodeTooLarge, client.CodeUnsupportedMedia,
		client.CodeInternal, client.CodeNotSupported, client.CodeUnavailable, client.CodeTimeout,
	}
	enum := readDocument(t).Components.Schemas["Error"].Properties["code"].Enum
	for _, c := range codes {
		if !slices.Contains(enum, c) {
			t.Errorf("code %s is not described", c)
		}
		if want := fmt.Sprintf("%d %s", status(c), c); !strings.Contains(string(openapiYAML), want) {
			t.Errorf("the document does not say %q", want)
		}
	}
	if len(enum) != len(codes) {
		t.Errorf("described codes %v, want %v", enum, codes)
	}
}

// TestAnswersMatchSchemas asks for everything and compares what comes with
// what the document requires.
func TestAnswersMatchSchemas(t *testing.T) {
	p := serve(t, newFake(2), nil)
	d := readDocument(t)
	one := "/v1/torrents/" + hashOf(1).String()
	for path, name := range map[string]string{
		"/v1/torrents": "TorrentList", one: "Torrent", one + "/files": "FileList", one + "/peers": "PeerList",
		one + "/trackers": "TrackerList", one + "/pieces": "Pieces", "/v1/session/stats": "Stats",
		"/v1/session/limits": "Limits", "/v1/dht/stats": "DHTStats", "/v1/dht/items?target=" + strings.Repeat("0a", 20): "DHTItem", "/v1/dht/samples?target=" + strings.Repeat("0a", 20): "DHTSamples", "/v1/session/version": "Version", "/v1/tracker": "TrackerServer", "/v1/tracker/torrents": "RegistrationList", "/v1/nothing": "ErrorResponse",
		"/v1/follows": "FollowList", "/v1/publications": "PublicationList",
	} {
		_, body := p.do(t, "GET", path, "", "")
		var got any
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		conforms(t, d, path, schema{Ref: "#/components/schemas/" + name}, got)
	}
}

func conforms(t *testing.T, d document, where string, s schema, got any) {
	t.Helper()
	if s.Ref != "" {
		s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	kind := map[string]string{"object": "map[string]interface {}", "array": "[]interface {}", "string": "string", "boolean": "bool", "number": "float64", "integer": "float64"}[s.Type]
	if fmt.Sprintf("%T", got) != kind {
		t.Errorf("%s: %T, want %s", where, got, s.Type)
		return
	}
	switch v := got.(type) {
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				t.Errorf("%s: %s is missing", where, name)
			}
		}
		for name, inner := range v {
			if prop, ok := s.Properties[name]; ok {
				conforms(t, d, where+"."+name, prop, inner)
			} else if s.Additional == nil {
				t.Errorf("%s: %s is not described", where, name)
			}
		}
	case []any:
		for i, inner := range v {
			if s.Items != nil {
				conforms(t, d, fmt.Sprintf("%s[%d]", where, i), *s.Items, inner)
			}
		}
	case string:
		if s.Enum != nil && !slices.Contains(s.Enum, v) {
			t.Errorf("%s: %q is none of %v", where, v, s.Enum)
		}
	}
}
