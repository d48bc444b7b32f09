# The looks of postgres_ha.star that are the same on the monitor and on the data nodes, by hand. $1 is the machine's
# address. Each thing is looked at once, however often the playbook comes back to it; the output is what was seen.
set -eu
pgdata=/var/lib/postgresql/17/pgaf
config=/var/lib/postgresql/.config/pg_autoctl

# Make sure that its data is of this version of PostgreSQL. (Tests of the shell itself: no program is run for them.)
for v in 11 12 13 14 15 16 18 19 20 21 22 23 24 25 26 27 28 29; do
	[ ! -e /var/lib/postgresql/$v/pgaf/PG_VERSION ]
done

# Set time zone, locale, limits and base packages; Install PostgreSQL and pg_auto_failover: the packages of both.
dpkg-query -W -f '${Package} ${Architecture} ${db:Status-Want} ${db:Status-Status} ${Version}\n' \
	ca-certificates iproute2 less procps tzdata \
	postgresql-17 postgresql-17-auto-failover pg-auto-failover-cli python3-psycopg2

# The same two: which distribution it is. Write PostgreSQL's settings: how much memory it may use.
cat /etc/os-release /proc/meminfo
readlink /etc/localtime

# All tasks with a file or directory of theirs: its kind, owner, group and mode. With the time of change, which is
# compared with the server's last reload.
stat -c '%n %F %U %G %a %Y' /usr/share/zoneinfo/Etc/UTC /etc/timezone /etc/default/locale /etc/security/limits.d/90-pgrun.conf \
	/etc/postgresql-common/createcluster.d /etc/postgresql-common/createcluster.d/pgrun.conf \
	/etc/pgaf /var/lib/postgresql/17 /var/log/pgaf \
	/etc/pgaf/ca.crt /etc/pgaf/server.crt /etc/pgaf/server.key \
	/etc/pgaf/pg_hba.conf /etc/pgaf/pg_ident.conf /etc/pgaf/postgresql.conf /etc/pgaf/before_pg_autoctl \
	/etc/systemd/system/pg_autoctl.service /etc/systemd/system/multi-user.target.wants/pg_autoctl.service \
	$pgdata/postgresql.conf $pgdata/postgresql.auto.conf $pgdata/postgresql-auto-failover.conf

# The same: their content.
sha256sum /etc/timezone /etc/default/locale /etc/security/limits.d/90-pgrun.conf /etc/postgresql-common/createcluster.d/pgrun.conf \
	/etc/pgaf/server.key /etc/pgaf/pg_hba.conf /etc/pgaf/pg_ident.conf /etc/pgaf/postgresql.conf /etc/pgaf/before_pg_autoctl \
	/etc/systemd/system/pg_autoctl.service

# Install PostgreSQL: no cluster "main" of the distribution's.
[ ! -e /etc/postgresql/17/main/start.conf ]

# Give the machine its certificate: whether the authority has signed it, for this address, and it has not expired.
openssl verify -CAfile /etc/pgaf/ca.crt -verify_ip "$1" /etc/pgaf/server.crt

# Create the monitor; Join the formation: where pg_autoctl keeps its files, whether the creation has finished, and
# that no other service is there.
getent passwd postgres
readlink -m $pgdata
find $config $pgdata -maxdepth 1
find $config -name pg_autoctl.cfg

# The same two: the service, and whether it runs.
systemctl show --property=Id,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,NeedDaemonReload,CanReload,ActiveEnterTimestamp,Type,RemainAfterExit,Result,ExecMainStartTimestamp,ExecMainCode,ExecMainStatus,MainPID,NRestarts,MemoryCurrent,Environment \
	pg_autoctl.service
