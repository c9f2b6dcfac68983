// Command referrers-registry is a registry that speaks the referrers API of the OCI
// distribution specification 1.1: go-containerregistry's registry, with the listing, the
// artifactType filter, the paging and the OCI-Subject header that it leaves out.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
)

const indexType = "application/vnd.oci.image.index.v1+json"

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int               `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations"`
	Config       struct {
		MediaType string `json:"mediaType"`
	} `json:"config"`
	Subject *struct {
		Digest string `json:"digest"`
	} `json:"subject"`
}

type server struct {
	next     http.Handler
	pageSize int

	mu sync.Mutex
	// referrers: repository and subject's digest → digest → descriptor.
	referrers map[string]map[string]descriptor
}

func main() {
	address := flag.String("address", "127.0.0.1:0", "address to listen on")
	disk := flag.String("disk", "", "folder for blobs (manifests stay in memory)")
	pageSize := flag.Int("page-size", 0, "referrers in one answer; 0: all")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", listener.Addr())
	options := []registry.Option{registry.Logger(log.New(io.Discard, "", 0))}
	if *disk != "" {
		options = append(options, registry.WithBlobHandler(registry.NewDiskBlobHandler(*disk)))
	}
	log.Fatal(http.Serve(listener, &server{
		next: registry.New(options...), pageSize: *pageSize, referrers: map[string]map[string]descriptor{},
	}))
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	if repository, digest, ok := cutLast(path, "/referrers/"); ok && r.Method == http.MethodGet {
		s.list(w, r, repository, digest)
		return
	}
	repository, reference, ok := cutLast(path, "/manifests/")
	if !ok {
		s.next.ServeHTTP(w, r)
		return
	}
	switch r.Method {
	case http.MethodPut:
		s.put(w, r, repository)
	case http.MethodDelete:
		s.forget(repository, reference)
		s.next.ServeHTTP(w, r)
	default:
		s.next.ServeHTTP(w, r)
	}
}

func (s *server) put(w http.ResponseWriter, r *http.Request, repository string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var m manifest
	if json.Unmarshal(body, &m) != nil || m.Subject == nil {
		s.next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("OCI-Subject", m.Subject.Digest)
	s.next.ServeHTTP(w, r)
	digest := w.Header().Get("Docker-Content-Digest")
	if digest == "" { // refused
		return
	}
	found := descriptor{
		MediaType: r.Header.Get("Content-Type"), Digest: digest, Size: len(body),
		ArtifactType: m.ArtifactType, Annotations: m.Annotations,
	}
	if found.ArtifactType == "" && found.MediaType != indexType {
		found.ArtifactType = m.Config.MediaType
	}
	key := repository + "@" + m.Subject.Digest
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.referrers[key] == nil {
		s.referrers[key] = map[string]descriptor{}
	}
	s.referrers[key][digest] = found
}

func (s *server) forget(repository, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, known := range s.referrers {
		if strings.HasPrefix(key, repository+"@") {
			delete(known, digest)
		}
	}
}

func (s *server) list(w http.ResponseWriter, r *http.Request, repository, digest string) {
	query := r.URL.Query()
	wanted, last := query.Get("artifactType"), query.Get("last")
	found := []descriptor{}
	s.mu.Lock()
	for _, d := range s.referrers[repository+"@"+digest] {
		if (wanted == "" || d.ArtifactType == wanted) && d.Digest > last {
			found = append(found, d)
		}
	}
	s.mu.Unlock()
	sort.Slice(found, func(i, j int) bool { return found[i].Digest < found[j].Digest })
	if wanted != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if s.pageSize > 0 && len(found) > s.pageSize {
		found = found[:s.pageSize]
		query.Set("last", found[len(found)-1].Digest)
		w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", r.URL.Path, query.Encode()))
	}
	w.Header().Set("Content-Type", indexType)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"schemaVersion": 2, "mediaType": indexType, "manifests": found,
	})
}

// cutLast splits around the last occurrence: a repository may itself hold the separator's word.
func cutLast(s, separator string) (before, after string, ok bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}
