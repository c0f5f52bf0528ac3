package main

import (
	"errors"
	"strings"
	"time"

	"github.com/ably/ably-go/ably"
)

// Report is what an application would have seen: the line on stdout, see mod.rs.
type Report struct {
	Connected        bool              `json:"connected"`
	ConnectionID     string            `json:"connectionId"`
	ConnectionEvents []ConnectionEvent `json:"connectionEvents"`
	ChannelEvents    []ChannelEvent    `json:"channelEvents"`
	PresenceEvents   []PresenceEvent   `json:"presenceEvents"`
	Published        int               `json:"published"`
	Acked            int               `json:"acked"`
	Nacked           int               `json:"nacked"`
	AckedTwice       int               `json:"ackedTwice"`
	Unanswered       int               `json:"unanswered"`
	Nacks            []Failure         `json:"nacks"`
	Received         int               `json:"received"`
	FromServer       int               `json:"fromServer"`
	Lost             int               `json:"lost"`
	Doubled          int               `json:"doubled"`
	Reordered        int               `json:"reordered"`
	Authorized       int               `json:"authorized"`
	Failures         []string          `json:"failures"`
	HistoryItems     *int              `json:"historyItems"`
	ServiceTime      *int64            `json:"serviceTime"`
	FinalState       string            `json:"finalState"`
	ClosedCleanly    bool              `json:"closedCleanly"`
	Error            *string           `json:"error"`
}

type ConnectionEvent struct {
	Event string `json:"event"`
	From  string `json:"from"`
	To    string `json:"to"`
	Code  *int   `json:"code"`
	At    int64  `json:"at"`
}

type ChannelEvent struct {
	Channel string `json:"channel"`
	Event   string `json:"event"`
	From    string `json:"from"`
	To      string `json:"to"`
	Resumed bool   `json:"resumed"`
	Code    *int   `json:"code"`
	At      int64  `json:"at"`
}

type PresenceEvent struct {
	Channel  string `json:"channel"`
	Action   string `json:"action"`
	ClientID string `json:"clientId"`
	At       int64  `json:"at"`
}

// Failure is why a publish was not taken.
type Failure struct {
	Code    *int   `json:"code"`
	Message string `json:"message"`
}

// newReport has empty lists, since null is none for anyone who reads it.
func newReport() Report {
	return Report{
		ConnectionEvents: []ConnectionEvent{},
		ChannelEvents:    []ChannelEvent{},
		PresenceEvents:   []PresenceEvent{},
		Nacks:            []Failure{},
		Failures:         []string{},
	}
}

var started = time.Now()

// at is the milliseconds since the client began.
func at() int64 { return time.Since(started).Milliseconds() }

func code(reason *ably.ErrorInfo) *int {
	if reason == nil {
		return nil
	}
	number := int(reason.Code)
	return &number
}

func failure(err error) Failure {
	var info *ably.ErrorInfo
	if errors.As(err, &info) {
		return Failure{Code: code(info), Message: info.Message()}
	}
	return Failure{Message: err.Error()}
}

func lower(name interface{ String() string }) string { return strings.ToLower(name.String()) }
