// One real Ably client in Go, driven by one JSON argument; prints one JSON line and exits.
//
// It does what client.mjs does and counts as that does: see there, and Scenario and Report in mod.rs.
// go.mod names the current SDK and legacy.mod an older one; the source is the same.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		end(2, "usage: client SCENARIO")
	}
	scenario, err := readScenario(os.Args[1])
	if err != nil {
		end(2, "the scenario cannot be read: %v", err)
	}
	// An SDK that blocks for good must not keep the test waiting; there is no report then.
	limit := seconds(scenario.Seconds+2*scenario.Settle) + 55*time.Second
	time.AfterFunc(limit, func() { end(3, "not done after %v", limit) })

	client, err := newClient(scenario)
	if err != nil {
		end(2, "%v", err)
	}
	go func() {
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err == nil {
			close(client.stop)
		}
	}()
	failed := client.run()
	report := client.close(failed)
	if failed != nil {
		text := failed.Error()
		report.Error = &text
	}
	line, err := json.Marshal(report)
	if err != nil {
		end(2, "%v", err)
	}
	fmt.Println(string(line))
}

// end says why on stderr, and leaves without a report.
func end(status int, format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(status)
}
