// Command timestamp-server is sigstore's timestamp authority with a signer in memory. Its own entry
// point always opens port 2112 for metrics as well, so that only one could run on a machine.
package main

import (
	"flag"
	"log"
	"time"

	"github.com/sigstore/timestamp-authority/v2/pkg/server"
	"github.com/spf13/viper"
)

const patience = 30 * time.Second

func main() {
	host := flag.String("host", "127.0.0.1", "address to listen on")
	port := flag.Int("port", 0, "port to listen on")
	flag.Parse()
	viper.Set("timestamp-signer", "memory")
	viper.Set("timestamp-signer-hash", "sha256")
	viper.Set("disable-ntp-monitoring", true)
	viper.Set("default-policy-oid", "1.3.6.1.4.1.57264.2")
	viper.Set("accepted-policy-oids", []string{"1.3.6.1.4.1.57264.2"})
	viper.Set("max-request-body-size", 1048576)
	authority := server.NewRestAPIServer(*host, *port, []string{"http"}, false, patience, patience)
	if err := authority.Serve(); err != nil {
		log.Fatal(err)
	}
}
