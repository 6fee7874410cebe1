package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/subject"
)

func (a *app) devCommand() *cobra.Command {
	o := &workOptions{app: a}
	var port int
	cmd := &cobra.Command{
		Use:   "dev [--handle KIND=PROGRAM …]",
		Short: "Run an embedded server and a pool, to try things out",
		Long: `Runs an embedded server on a loopback port, and a pool with the programs given
(see 'lanekeeper work --help'). Everything is kept in memory only.`,
		Example: `  lanekeeper dev --handle greet='sh -c "cat; sleep 1"'`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			programs, err := o.programs()
			if err == nil {
				err = o.checkFlags(cmd)
			}
			if err == nil {
				err = a.runLong()
			}
			if err != nil {
				return err
			}
			server, err := embedded.Start(fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				return err
			}
			defer server.Close()
			file, err := addressFile(server.URL())
			if err != nil {
				return err
			}
			defer os.Remove(file)
			a.redis.set(server.URL(), file)
			d, err := a.open(cmd.Context())
			if cmd.Context().Err() != nil {
				return nil // told to stop before the start was done
			}
			if err != nil {
				return err
			}
			a.where = where{} // which is what other shells are told to export
			a.welcome(file, append(kindsOf(programs), "greet")[0])
			if len(programs) == 0 {
				a.note("No pool runs: start one with --handle KIND=PROGRAM here, or with 'lanekeeper work' elsewhere.")
				<-cmd.Context().Done()
				return nil
			}
			pools, err := o.pools(d, programs)
			if err != nil {
				return err
			}
			return o.report(pools, runAll(cmd.Context(), pools))
		},
	}
	o.addFlags(cmd)
	a.addLogFlags(cmd)
	cmd.Flags().IntVar(&port, "port", 0, "loopback port of the server (default: a free one)")
	return cmd
}

// addressFile writes an address into a file of this user's, for other shells: what is printed may be
// read by more than one.
func addressFile(url string) (path string, err error) {
	f, err := os.CreateTemp(os.Getenv("XDG_RUNTIME_DIR"), "lanekeeper-dev-")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(url + "\n")
	return f.Name(), errors.Join(err, f.Close())
}

// welcome says where the server's address is, and what to type.
func (a *app) welcome(file, kind string) {
	elsewhere := ""
	if a.namespace != defaultNamespace {
		elsewhere = "  export " + namespaceVariable + "=" + subject.IDWord(a.namespace) + "\n"
	}
	fmt.Fprintf(a.out, `An embedded server runs until you press Ctrl-C.
%s In another shell:

  export LANEKEEPER_REDIS_FILE=%s
%s  lanekeeper enqueue build:17 %s hello
  lanekeeper lane ls
  lanekeeper stats

`, a.red("NOTHING SURVIVES THIS PROCESS: all jobs are kept in memory only."), file, elsewhere, kind)
}
