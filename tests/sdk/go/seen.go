package main

import (
	"context"
	"time"

	"github.com/ably/ably-go/ably"
)

// onConnection reports what comes after the first `connected`, and a failure whenever it comes.
func (c *Client) onConnection(change ably.ConnectionStateChange) {
	id := c.ably.Connection.ID()
	c.locked(func() {
		if c.over {
			return
		}
		if c.report.Connected || change.Current == ably.ConnectionStateFailed {
			c.report.ConnectionEvents = append(c.report.ConnectionEvents, ConnectionEvent{
				Event: lower(change.Event), From: lower(change.Previous), To: lower(change.Current),
				Code: code(change.Reason), At: at(),
			})
		}
		if change.Current == ably.ConnectionStateConnected && !c.report.Connected {
			c.report.Connected = true
			c.report.ConnectionID = id
		}
	})
}

func (c *Client) onChannel(name string, change ably.ChannelStateChange) {
	c.locked(func() {
		if c.over {
			return
		}
		// What it asked for itself is not reported; `detached` may have a reason.
		detached := change.Previous == ably.ChannelStateDetaching && change.Current == ably.ChannelStateDetached
		asked := detached || change.Reason == nil && change.Event != ably.ChannelEventUpdate
		if asked && c.ownEvents[name] > 0 {
			c.ownEvents[name]--
			return
		}
		c.report.ChannelEvents = append(c.report.ChannelEvents, ChannelEvent{
			Channel: name, Event: lower(change.Event), From: lower(change.Previous), To: lower(change.Current),
			Resumed: change.Resumed, Code: code(change.Reason), At: at(),
		})
	})
}

func (c *Client) onPresence(name string, member *ably.PresenceMessage) {
	c.locked(func() {
		if c.over {
			return
		}
		c.report.PresenceEvents = append(c.report.PresenceEvents, PresenceEvent{
			Channel: name, Action: lower(member.Action), ClientID: member.ClientID, At: at(),
		})
	})
}

func (c *Client) onMessage(channel string, message *ably.Message) {
	own, isOwn := ownNumber(message.Data, c.me)
	sent, isNumber := number(message.Data)
	c.locked(func() {
		switch {
		case message.Name == "own" && isOwn:
			c.report.Received++
			c.streams.of("own", channel).take(own, &c.report)
		case message.Name == "server" && isNumber:
			c.report.FromServer++
			c.streams.of("server", channel).take(sent, &c.report)
		}
	})
}

// join attaches a channel, and enters its presence where that is asked for.
func (c *Client) join(limit context.Context, name string) (*ably.RealtimeChannel, error) {
	channel := c.ably.Channels.Get(name)
	// To subscribe is to attach.
	if _, err := channel.SubscribeAll(limit, func(message *ably.Message) { c.onMessage(name, message) }); err != nil {
		return nil, err
	}
	if err := channel.Attach(limit); err != nil {
		return nil, err
	}
	channel.OnAll(func(change ably.ChannelStateChange) { c.onChannel(name, change) })
	if c.scenario.Presence {
		_, err := channel.Presence.SubscribeAll(limit, func(member *ably.PresenceMessage) { c.onPresence(name, member) })
		if err != nil {
			return nil, err
		}
		if err := channel.Presence.Enter(limit, "here"); err != nil {
			return nil, err
		}
	}
	return channel, nil
}

// detachAndAttach does so to every channel, when nothing is on its way; the events of it are its own.
func (c *Client) detachAndAttach(channels []*ably.RealtimeChannel) error {
	c.settle()
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, channel := range channels {
		// detaching, detached, attaching, attached
		c.locked(func() { c.ownEvents[channel.Name] = 4 })
		if err := channel.Detach(limit); err != nil {
			return err
		}
		if err := channel.Attach(limit); err != nil {
			return err
		}
		if c.scenario.Presence {
			if err := channel.Presence.Enter(limit, "here"); err != nil {
				return err
			}
		}
	}
	return nil
}

// authorizeOften has the client renew its token itself, as an application may.
func (c *Client) authorizeOften(done chan struct{}) {
	if c.scenario.AuthorizeEvery <= 0 {
		return
	}
	for {
		select {
		case <-done:
			return
		case <-time.After(seconds(c.scenario.AuthorizeEvery)):
		}
		limit, cancel := context.WithTimeout(context.Background(), patience)
		_, err := c.ably.Auth.Authorize(limit, nil)
		cancel()
		c.locked(func() {
			if err != nil {
				c.report.Failures = append(c.report.Failures, "authorize: "+err.Error())
			} else {
				c.report.Authorized++
			}
		})
	}
}

// readHistory asks for what the service remembers, and for its time. A failure is told, no more.
func (c *Client) readHistory(channels []*ably.RealtimeChannel) {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	total, failures := 0, []string{}
	for _, channel := range channels {
		items, err := channel.History(ably.HistoryWithLimit(1000)).Items(limit)
		for err == nil && items.Next(limit) {
			total++
		}
		if err == nil {
			err = items.Err()
		}
		if err != nil {
			failures = append(failures, "history: "+err.Error())
		}
	}
	now, err := c.ably.Time(limit)
	if err != nil {
		failures = append(failures, "time: "+err.Error())
	}
	c.locked(func() {
		if len(failures) == 0 || total > 0 {
			c.report.HistoryItems = &total
		}
		if err == nil {
			milliseconds := now.UnixMilli()
			c.report.ServiceTime = &milliseconds
		}
		c.report.Failures = append(c.report.Failures, failures...)
	})
}
