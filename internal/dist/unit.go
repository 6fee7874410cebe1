package main

import (
	"fmt"
	"time"
)

// The times by which a worker stops, as they are without flags: worker.Config has them, and a test holds these to it.
const (
	stopTimeout = 20 * time.Second
	leaseTTL    = 30 * time.Second
)

// stopsWithin is how long a worker may take from SIGTERM on: docs/operations.md, "Stopping". Programs have the first part, those that
// were cancelled the second one and a second more, and the last reports five.
const stopsWithin = stopTimeout + leaseTTL/5 + 6*time.Second

// unit is lanekeeper@.service: one worker for each file /etc/lanekeeper/NAME.yaml.
//
// KillMode=mixed sends SIGTERM to the worker alone, which lets its programs finish and ends those that don't; only what is left after that
// is killed. What hardens it does no harm to programs that write to /var, the network and their own files: what a
// program may do is its owner's to say, with 'systemctl edit'.
func unit() string {
	return fmt.Sprintf(`[Unit]
Description=Lanekeeper worker %%i
Documentation=man:lanekeeper-work(1)
After=network-online.target
Wants=network-online.target
# Without Redis a worker ends at its start; try for ever, and not five times.
StartLimitIntervalSec=0

[Service]
# The address of Redis stands in a file that only this user may read: man lanekeeper.
Environment=LANEKEEPER_REDIS_FILE=/etc/lanekeeper/redis
ExecStart=/usr/local/bin/lanekeeper work --config /etc/lanekeeper/%%i.yaml
User=lanekeeper
Restart=always
RestartSec=2

# The worker ends its programs itself: it lets them finish for the stop timeout (%s), cancels the rest, and
# reports. It needs the stop timeout + a fifth of the lease TTL (%s) + 6s: change this when you change those.
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec=%d
# Out of memory is one program's fault, and not that of all.
OOMPolicy=continue

NoNewPrivileges=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
PrivateTmp=yes
RestrictSUIDSGID=yes
LockPersonality=yes

[Install]
WantedBy=multi-user.target
`, stopTimeout, leaseTTL, int(stopsWithin.Seconds()))
}
