#!/bin/bash
# What postgres_ha.star does from nothing, by hand: three containers, a monitor and two data nodes with TLS and SCRAM,
# the application's role and database. It stops at the first failure, and is good for one run only.
#
#   first.sh WORK NETWORK IMAGE PROFILE...
#
# WORK is an empty directory for certificates and passwords; NETWORK the first three numbers of the addresses.
set -euo pipefail
umask 077
work=$1 net=$2 image=$3
shift 3
profiles=()
for p in "$@"; do profiles+=(--profile "$p"); done
cd "$work"

mon=pgrun-bench-monitor nodes=(pgrun-bench-a pgrun-bench-b)
declare -A address=([$mon]=$net.41 [${nodes[0]}]=$net.42 [${nodes[1]}]=$net.43)
declare -A memory=([$mon]=512 [${nodes[0]}]=1024 [${nodes[1]}]=1024) # MiB
pgdata=/var/lib/postgresql/17/pgaf
bindir=/usr/lib/postgresql/17/bin
tls="--ssl-ca-file /etc/pgaf/ca.crt --server-cert /etc/pgaf/server.crt --server-key /etc/pgaf/server.key --ssl-mode verify-full"
monitor_uri="postgresql://autoctl_node@${address[$mon]}:5432/pg_auto_failover?sslmode=verify-full&sslrootcert=/etc/pgaf/ca.crt&connect_timeout=3"
app_password=changeme-DEV-ONLY

# on NAME runs a script, from standard input, as root in a container.
on() { incus exec "$1" -- bash -euo pipefail -s; }

# all waits for all that runs in the background, and fails where one of them failed.
all() {
	local pid
	for pid in $(jobs -p); do wait "$pid"; done
}

# Certificate authority and passwords.
secrets() {
	openssl ecparam -name prime256v1 -genkey -noout -out ca.key
	openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=bench" -out ca.crt
	for name in autoctl_node replicator; do openssl rand -hex 16 > $name.password; done
	for h in $mon "${nodes[@]}"; do
		openssl ecparam -name prime256v1 -genkey -noout -out "$h.key"
		openssl req -new -key "$h.key" -subj "/CN=$h" -out "$h.csr"
		openssl x509 -req -in "$h.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -out "$h.crt" \
			-extfile <(echo "subjectAltName=DNS:$h,DNS:$h.incus,IP:${address[$h]}") 2> /dev/null
	done
}

# Containers.
launch() {
	incus launch "$image" "$1" "${profiles[@]}" -c boot.autostart=true -c "limits.memory=${memory[$1]}MiB" \
		-d "eth0,ipv4.address=${address[$1]}" > /dev/null < /dev/null
	until incus exec "$1" -- ip -4 -brief address show dev eth0 2> /dev/null | grep -qF "${address[$1]}"; do sleep 0.1; done
}

# Machines: base packages and settings, PostgreSQL and pg_auto_failover without a cluster of the distribution's, the
# certificate, who may log in from where, PostgreSQL's settings, the service's file.
machine() {
	on "$1" <<-'END'
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -q
		apt-get install -y -q ca-certificates iproute2 less procps tzdata
		ln -sf /usr/share/zoneinfo/Etc/UTC /etc/localtime
		echo Etc/UTC > /etc/timezone
		echo LANG=C.UTF-8 > /etc/default/locale
		printf '* soft nofile 65536\n* hard nofile 65536\n' > /etc/security/limits.d/90-bench.conf
		mkdir -p /etc/postgresql-common/createcluster.d
		echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/bench.conf
		apt-get install -y -q --no-install-recommends postgresql-17 postgresql-17-auto-failover pg-auto-failover-cli python3-psycopg2
		install -d -o root -g postgres -m 0750 /etc/pgaf
		install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/17
		install -d -o postgres -g adm -m 0750 /var/log/pgaf
	END
	incus file push -q ca.crt "$1/etc/pgaf/ca.crt" --mode 0644
	incus file push -q "$1.crt" "$1/etc/pgaf/server.crt" --mode 0644
	incus file push -q "$1.key" "$1/etc/pgaf/server.key" --mode 0600
	hba "$1" | incus file push -q - "$1/etc/pgaf/pg_hba.conf" --mode 0640
	ident "$1" | incus file push -q - "$1/etc/pgaf/pg_ident.conf" --mode 0640
	conf "$1" | incus file push -q - "$1/etc/pgaf/postgresql.conf" --mode 0640
	unit | incus file push -q - "$1/etc/systemd/system/pg_autoctl.service" --mode 0644
	on "$1" <<-END
		chown postgres:postgres /etc/pgaf/server.key
		chgrp postgres /etc/pgaf/pg_hba.conf /etc/pgaf/pg_ident.conf /etc/pgaf/postgresql.conf
		systemctl daemon-reload
	END
}

hba() {
	echo 'local all postgres peer'
	if [ "$1" = $mon ]; then
		echo 'local pg_auto_failover autoctl_node peer map=pgaf'
		for n in "${nodes[@]}"; do echo "hostssl pg_auto_failover autoctl_node ${address[$n]}/32 scram-sha-256"; done
		return
	fi
	for n in "${nodes[@]}"; do
		echo "hostssl replication pgautofailover_replicator ${address[$n]}/32 scram-sha-256"
		echo "hostssl postgres pgautofailover_replicator ${address[$n]}/32 scram-sha-256"
	done
	echo "hostssl postgres pgautofailover_monitor ${address[$mon]}/32 scram-sha-256"
	echo 'hostssl app app samenet scram-sha-256'
}

ident() { if [ "$1" = $mon ]; then echo 'pgaf postgres autoctl_node'; fi; }

conf() {
	local mb=${memory[$1]}
	cat <<-END
		hba_file = '/etc/pgaf/pg_hba.conf'
		ident_file = '/etc/pgaf/pg_ident.conf'
		password_encryption = 'scram-sha-256'
		effective_cache_size = '$((mb / 2))MB'
		work_mem = '4MB'
		max_connections = 100
		log_directory = '/var/log/pgaf'
		log_filename = 'postgresql-%a.log'
	END
	if [ "$1" = $mon ]; then
		cat <<-END
			shared_buffers = '$((mb / 8))MB'
			maintenance_work_mem = '32MB'
			pgautofailover.promote_wal_log_threshold = 1073741824
			pgautofailover.health_check_period = '500ms'
			pgautofailover.health_check_timeout = '2s'
			pgautofailover.health_check_max_retries = '1'
			pgautofailover.health_check_retry_delay = '100ms'
			pgautofailover.node_considered_unhealthy_timeout = '2500ms'
			pgautofailover.primary_demote_timeout = '20s'
			pgautofailover.startup_grace_period = '5s'
		END
		return
	fi
	cat <<-END
		shared_buffers = '$((mb / 4))MB'
		maintenance_work_mem = '$((mb / 16))MB'
		wal_keep_size = '64MB'
		max_slot_wal_keep_size = '2GB'
		checkpoint_timeout = '1min'
		wal_sender_timeout = '10s'
		wal_receiver_timeout = '5s'
		wal_receiver_status_interval = '1s'
		wal_retrieve_retry_interval = '200ms'
	END
}

unit() {
	cat <<-END
		[Unit]
		Wants=network-online.target
		After=network-online.target
		[Service]
		User=postgres
		Group=postgres
		UMask=0077
		WorkingDirectory=/var/lib/postgresql
		Environment=PGDATA=$pgdata
		Environment=XDG_RUNTIME_DIR=/run/pg_autoctl
		RuntimeDirectory=pg_autoctl
		ExecStart=/usr/bin/pg_autoctl run
		KillMode=mixed
		Restart=on-failure
		LimitNOFILE=65536
		[Install]
		WantedBy=multi-user.target
	END
}

# initdb and create WHAT OPTION... run in a container: initdb first, since pg_autoctl's own would leave trust in it.
initdb="runuser -u postgres -- $bindir/initdb -D $pgdata --data-checksums --encoding=UTF8 --locale=C.UTF-8 --auth-local=peer --auth-host=scram-sha-256
runuser -u postgres -- sh -c \"echo \\\"include_if_exists '/etc/pgaf/postgresql.conf'\\\" >> $pgdata/postgresql.conf\""
create() {
	echo "install -d -o postgres -g postgres -m 0750 /run/pg_autoctl"
	echo "cd /var/lib/postgresql && runuser -u postgres -- env PGDATA=$pgdata XDG_RUNTIME_DIR=/run/pg_autoctl LANG=C.UTF-8 \
		pg_autoctl create $1 --pgdata $pgdata --pgctl $bindir/pg_ctl --pgport 5432 --skip-pg-hba $tls ${*:2}"
}
# Last: while the service begins it writes its configuration anew.
start="systemctl enable -q --now pg_autoctl"

# answers runs in a container, and waits until its server does.
answers='until runuser -u postgres -- psql -XAtqc "SELECT true" > /dev/null 2>&1; do sleep 0.1; done'

# sql NAME [DATABASE] runs statements, from standard input, in a container's server.
sql() { incus exec "$1" -- runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d "${2:-postgres}"; }

monitor() {
	on $mon <<< "$initdb
$(create monitor --hostname "${address[$mon]}")
$start
$answers"
	echo "ALTER ROLE autoctl_node PASSWORD '$(cat autoctl_node.password)'" | sql $mon
}

# Each node can log in to the others, and joins; the first is the primary, the second copies its data.
node() {
	{
		echo "${address[$mon]}:5432:pg_auto_failover:autoctl_node:$(cat autoctl_node.password)"
		echo "*:5432:*:pgautofailover_replicator:$(cat replicator.password)"
	} | incus file push -q - "$1/var/lib/postgresql/.pgpass" --mode 0600
	on "$1" <<< "chown postgres:postgres /var/lib/postgresql/.pgpass
$2
$(create postgres --hostname "${address[$1]}" --name "$1" --dbname postgres --replication-quorum true --monitor "'$monitor_uri'")
runuser -u postgres -- env XDG_RUNTIME_DIR=/run/pg_autoctl pg_autoctl config set --pgdata $pgdata timeout.network_partition_timeout 3
$start
$answers"
}

# settled waits until the monitor has all nodes, in the order of their registration, in these states and healthy.
settled() {
	local now
	for _ in $(seq 600); do
		now=$(echo "SELECT string_agg(reportedstate::text || goalstate::text || health, ' ' ORDER BY nodeid) FROM pgautofailover.node" |
			sql $mon pg_auto_failover)
		if [ "$now" = "$1" ]; then return; fi
		sleep 0.2
	done
	echo "first.sh: the nodes are $now, not $1" >&2
	return 1
}

secrets &
for h in $mon "${nodes[@]}"; do launch "$h" & done
all
for h in $mon "${nodes[@]}"; do machine "$h" & done
all
monitor
node "${nodes[0]}" "$initdb"
settled singlesingle1
echo "ALTER ROLE pgautofailover_replicator PASSWORD '$(cat replicator.password)'" | sql "${nodes[0]}"
node "${nodes[1]}" ''
settled 'primaryprimary1 secondarysecondary1'
sql "${nodes[0]}" <<-END
	CREATE ROLE app LOGIN PASSWORD '$app_password';
	CREATE DATABASE app OWNER app;
	REVOKE ALL ON DATABASE app FROM PUBLIC;
END
echo made
