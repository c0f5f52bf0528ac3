package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ably/ably-go/ably"
)

const patience = 15 * time.Second

// publication is one publish: which channel, which number.
type publication struct {
	channel string
	n       int
}

// Client is the SDK's client and what has been seen of it. The lock is for all below it: the SDK calls
// from goroutines of its own, and none of its functions is called while it is held.
type Client struct {
	scenario Scenario
	ably     *ably.Realtime
	me       string
	stop     chan struct{}

	lock       sync.Mutex
	report     Report
	over       bool
	ownEvents  map[string]int
	streams    Streams
	unanswered map[publication]bool
	acked      map[publication]bool
}

func newClient(scenario Scenario) (*Client, error) {
	options, err := scenario.clientOptions()
	if err != nil {
		return nil, err
	}
	realtime, err := ably.NewRealtime(options...)
	if err != nil {
		return nil, err
	}
	c := &Client{
		scenario:   scenario,
		ably:       realtime,
		me:         fmt.Sprintf("go-%d", time.Now().UnixNano()),
		stop:       make(chan struct{}),
		report:     newReport(),
		ownEvents:  map[string]int{},
		streams:    Streams{},
		unanswered: map[publication]bool{},
		acked:      map[publication]bool{},
	}
	realtime.Connection.OnAll(c.onConnection)
	return c, nil
}

// locked runs a function under the lock.
func (c *Client) locked(do func()) {
	c.lock.Lock()
	defer c.lock.Unlock()
	do()
}

// run is the client's life up to its close.
func (c *Client) run() error {
	c.ably.Connect()
	until(patience, func() bool {
		return c.connected() || c.ably.Connection.State() == ably.ConnectionStateFailed
	})
	if !c.connected() {
		return nil
	}
	joined, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var channels []*ably.RealtimeChannel
	for _, name := range c.scenario.Channels {
		channel, err := c.join(joined, name)
		if errors.Is(err, context.DeadlineExceeded) {
			return errors.New("channels did not attach")
		} else if err != nil {
			return err
		}
		channels = append(channels, channel)
	}
	done := make(chan struct{})
	authorized := make(chan struct{})
	go func() {
		defer close(authorized)
		c.authorizeOften(done)
	}()
	err := c.publishOften(channels)
	close(done)
	<-authorized
	c.settle()
	if c.scenario.History && err == nil {
		c.readHistory(channels)
	}
	return err
}

// publishOften publishes against the clock, so that a late timer does not lower the rate.
func (c *Client) publishOften(channels []*ably.RealtimeChannel) error {
	pause := 50 * time.Millisecond
	if c.scenario.Rate > 0 {
		pause = seconds(1 / c.scenario.Rate)
	}
	begin := time.Now()
	end, half := begin.Add(seconds(c.scenario.Seconds)), begin.Add(seconds(c.scenario.Seconds/2))
	due, detached := begin, false
	for n := 0; time.Now().Before(end) && !c.failed(); n++ {
		for _, channel := range channels {
			if c.scenario.Rate > 0 {
				c.publish(channel, n)
			}
		}
		if c.scenario.Detach && !detached && time.Now().After(half) {
			detached = true
			if err := c.detachAndAttach(channels); err != nil {
				return err
			}
			// What was not published meanwhile is not made up for.
			due = time.Now()
		}
		due = due.Add(pause)
		select {
		case <-c.stop:
			return nil
		case <-time.After(time.Until(due)):
		}
	}
	return nil
}

func (c *Client) publish(channel *ably.RealtimeChannel, n int) {
	which := publication{channel.Name, n}
	c.locked(func() {
		c.report.Published++
		c.unanswered[which] = true
	})
	answered := func(err error) {
		c.locked(func() {
			switch {
			case !c.unanswered[which]:
				c.report.AckedTwice++
			case err != nil:
				c.report.Nacked++
				c.report.Nacks = append(c.report.Nacks, failure(err))
			default:
				c.report.Acked++
				c.acked[which] = true
			}
			delete(c.unanswered, which)
		})
	}
	// One goroutine publishes, so that the order is the order of the numbers.
	// As text: ably-go writes a map as an object, at which ably-java drops its connection.
	if err := channel.PublishAsync("own", fmt.Sprintf("%s %d", c.me, n), answered); err != nil {
		answered(err)
	}
}

// settle waits for what is on its way.
func (c *Client) settle() {
	limit := seconds(c.scenario.Settle)
	until(limit, func() bool { return c.answers() == 0 || c.failed() })
	until(limit, func() bool { return c.missing() == 0 || c.failed() })
}

func (c *Client) close(problem error) Report {
	// An operation that fails with its connection is told before the connection's own event.
	if problem != nil || c.refusals() > 0 {
		until(time.Second, c.failed)
	}
	missing, state := c.missing(), c.ably.Connection.State()
	c.locked(func() {
		c.over = true
		c.report.FinalState = lower(state)
		c.report.Unanswered = len(c.unanswered)
		c.report.Lost = missing
		for name, stream := range c.streams {
			if name[0] == "server" {
				c.report.Lost += stream.gaps()
			}
		}
	})
	c.ably.Close()
	until(5*time.Second, func() bool {
		state = c.ably.Connection.State()
		return state == ably.ConnectionStateClosed || state == ably.ConnectionStateFailed
	})
	c.lock.Lock()
	defer c.lock.Unlock()
	c.report.ClosedCleanly = state == ably.ConnectionStateClosed
	return c.report
}

func (c *Client) connected() bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.report.Connected
}

func (c *Client) failed() bool {
	state := c.ably.Connection.State()
	return state == ably.ConnectionStateFailed || state == ably.ConnectionStateSuspended || state == ably.ConnectionStateClosed
}

// refusals is how many publishes were refused.
func (c *Client) refusals() int {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.report.Nacked
}

// answers is how many are still to come.
func (c *Client) answers() int {
	c.lock.Lock()
	defer c.lock.Unlock()
	return len(c.unanswered)
}

// missing is how many own messages were acknowledged and did not come back.
func (c *Client) missing() int {
	c.lock.Lock()
	defer c.lock.Unlock()
	missing := 0
	for which := range c.acked {
		if !c.streams.of("own", which.channel).seen[which.n] {
			missing++
		}
	}
	return missing
}

// until waits for something to be so, for a limited time.
func until(limit time.Duration, isSo func() bool) {
	end := time.Now().Add(limit)
	for !isSo() && time.Now().Before(end) {
		time.Sleep(5 * time.Millisecond)
	}
}
