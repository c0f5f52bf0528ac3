package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ably/ably-go/ably"
)

// Scenario is what the client is to do: the JSON argument, see mod.rs.
type Scenario struct {
	Format         string         `json:"format"`
	Host           string         `json:"host"`
	Port           int            `json:"port"`
	Key            string         `json:"key"`
	Token          string         `json:"token"`
	AuthURL        string         `json:"authUrl"`
	ClientID       string         `json:"clientId"`
	Seconds        float64        `json:"seconds"`
	Rate           float64        `json:"rate"`
	Presence       bool           `json:"presence"`
	Channels       []string       `json:"channels"`
	Settle         float64        `json:"settle"`
	AuthorizeEvery float64        `json:"authorizeEvery"`
	Detach         bool           `json:"detach"`
	History        bool           `json:"history"`
	Options        map[string]any `json:"options"`
}

func readScenario(argument string) (Scenario, error) {
	var s Scenario
	err := json.Unmarshal([]byte(argument), &s)
	return s, err
}

// clientOptions fails at an option that it does not know: a test must not believe that it took effect.
func (s Scenario) clientOptions() ([]ably.ClientOption, error) {
	options := []ably.ClientOption{
		ably.WithAutoConnect(false),
		ably.WithEndpoint(s.Host),
		ably.WithPort(s.Port),
		ably.WithTLS(false),
		ably.WithUseBinaryProtocol(s.Format == "msgpack"),
	}
	if s.Key != "" {
		// Without the second option a key is refused where there is no TLS.
		options = append(options, ably.WithKey(s.Key), ably.WithInsecureAllowBasicAuthWithoutTLS())
	}
	if s.Token != "" {
		options = append(options, ably.WithToken(s.Token))
	}
	if s.AuthURL != "" {
		options = append(options, ably.WithAuthURL(s.AuthURL))
	}
	if s.ClientID != "" {
		options = append(options, ably.WithClientID(s.ClientID))
	}
	for name, value := range s.Options {
		on, isBool := value.(bool)
		switch {
		case name == "useTokenAuth" && isBool:
			options = append(options, ably.WithUseTokenAuth(on))
		default:
			return nil, fmt.Errorf("unknown option %q", name)
		}
	}
	return options, nil
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
