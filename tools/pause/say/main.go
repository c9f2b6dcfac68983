// Command say prints its arguments and its user, for pods that tests look at.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	fmt.Printf("%s (uid %d)\n", strings.Join(os.Args[1:], " "), os.Getuid())
}
