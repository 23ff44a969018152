package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
)

// metrics is the command "metrics".
func (t *tool) metrics() *cobra.Command {
	return &cobra.Command{
		Use: "metrics", Short: "Print the metrics of the running server, as Prometheus reads them", GroupID: "run", Args: cobra.NoArgs,
		Long: `Print the metrics of the running server: what it has counted since it started,
and how it stands with the queue, the store, the disk and the backups. The format
is that of Prometheus; docs/metrics.md tells what each is.

For Prometheus itself, let the server listen on this machine, beside its other
listeners, and read http://127.0.0.1:9725/metrics:

  [[listener]]
  address = "127.0.0.1:9725"
  protocol = "metrics"`,
		Example: `  posthaste metrics
  posthaste metrics | grep posthaste_queue`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := t.read()
			if err != nil {
				return err
			}
			c := dial(cmd.Context(), filepath.Join(cfg.Data, socketName))
			if c == nil {
				return fmt.Errorf("no server runs on the store in %s, and metrics are of a server that runs: start it with posthaste serve", cfg.Data)
			}
			return c.Metrics(cmd.Context(), stdout)
		},
	}
}
