package api

import (
	_ "embed"
	"net/http"
	"runtime"

	"btd/api/client"
)

//go:embed openapi.yaml
var openapiYAML []byte

func (s *Server) stats(w http.ResponseWriter, _ *http.Request) error {
	st := s.cfg.Engine.Stats()
	return writeJSON(w, http.StatusOK, fromStats(&st))
}

func (s *Server) limits(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, fromLimits(s.cfg.Engine.Limits()))
}

func (s *Server) setLimits(w http.ResponseWriter, r *http.Request) error {
	var p client.LimitsPatch
	if err := readJSON(w, r, maxBody, &p); err != nil {
		return err
	}
	s.patches.Lock()
	defer s.patches.Unlock()
	limits, err := patchLimits(s.cfg.Engine.Limits(), p)
	if err != nil {
		return err
	}
	if err := s.cfg.Engine.SetSessionLimits(r.Context(), limits); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, fromLimits(limits))
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, client.Version{Version: s.cfg.Version, API: "v1", Go: runtime.Version()})
}

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) error {
	extend(w)
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openapiYAML)
	return nil
}
