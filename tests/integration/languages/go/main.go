// Command log prints speed.
package main

import (
	"os"

	"example.org/knots"
)

var version = "none"

func main() {
	os.Stdout.WriteString(version + " " + knots.FromKilometres("18.52") + "\n")
}
