// Command pgrun-agent is the agent alone, without the rest of pgrun: small, so that it is quickly
// pushed to a machine. `make build` puts it into pgrun for every architecture; nobody starts it by
// hand. See package agent.
package main

import (
	"os"

	"github.com/pgrun/pgrun/runtime/agent"
)

func main() { os.Exit(agent.Main(os.Args[1:])) }
