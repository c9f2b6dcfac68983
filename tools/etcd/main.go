// Command etcd is etcd's own entry point: its module keeps its main package in a directory that
// cannot be named as a tool.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
