package main

import (
	"fmt"
	"strings"
)

// Stream is what of one row of numbers has been seen: one for each channel and each sender.
type Stream struct {
	seen           map[int]bool
	first, highest int
}

// take counts a number as new, seen before, or late.
func (s *Stream) take(n int, report *Report) {
	if s.seen[n] {
		report.Doubled++
	} else if n < s.highest {
		report.Reordered++
	}
	if len(s.seen) == 0 {
		s.first = n
	}
	s.seen[n] = true
	if n > s.highest {
		s.highest = n
	}
}

func (s *Stream) gaps() int {
	missing := 0
	for n := s.first; n <= s.highest; n++ {
		if !s.seen[n] {
			missing++
		}
	}
	return missing
}

// Streams are named by their sender and their channel.
type Streams map[[2]string]*Stream

func (all Streams) of(sender, channel string) *Stream {
	name := [2]string{sender, channel}
	if all[name] == nil {
		all[name] = &Stream{seen: map[int]bool{}, highest: -1}
	}
	return all[name]
}

// ownNumber is the number in a message of this client's own.
func ownNumber(data any, me string) (int, bool) {
	text, _ := data.(string)
	if !strings.HasPrefix(text, me+" ") {
		return 0, false
	}
	return number(text[len(me)+1:])
}

// number takes what JSON and MessagePack each make of a whole number.
func number(data any) (int, bool) {
	if float, ok := data.(float64); ok {
		return int(float), true
	}
	var n int
	_, err := fmt.Sscan(fmt.Sprint(data), &n)
	return n, err == nil
}
