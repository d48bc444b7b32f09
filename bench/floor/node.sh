# The looks that are a data node's alone. It follows machine.sh.

# Join the formation: whether it is a node, to its end, and with which settings.
stat -c '%n %F' /var/lib/postgresql/.local/share/pg_autoctl$pgdata/pg_autoctl.state
[ ! -e /var/lib/postgresql/.local/share/pg_autoctl$pgdata/pg_autoctl.init ]
[ ! -e $config$pgdata/reload.pgrun ]
cat $config$pgdata/pg_autoctl.cfg

# Have a data node's server that answers read its files again: one that only data nodes have.
stat -c '%n %Y' $pgdata/postgresql-auto-failover-standby.conf

# Write the passwords that a node logs in to the others with.
stat -c '%n %F %U %G %a' /var/lib/postgresql/.pgpass
sha256sum /var/lib/postgresql/.pgpass

# What the playbook asks the server, in one session.
runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d postgres <<'SQL'
-- Have a data node's server that answers read its files again.
SELECT pg_conf_load_time();
SELECT DISTINCT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL;
SELECT sourcefile, sourceline, name, error FROM pg_file_settings WHERE error IS NOT NULL;
SELECT line_number, error FROM pg_ident_file_mappings WHERE error IS NOT NULL;
-- Have all data nodes, and as many standbys as asked for, acknowledge commits.
SELECT current_setting('default_transaction_read_only'), current_setting('synchronous_standby_names');
SELECT application_name, state, sync_state FROM pg_stat_replication;
-- Restart PostgreSQL where a setting waits for it.
SELECT name FROM pg_settings WHERE pending_restart;
-- Check that nobody gets in without TLS and a SCRAM password.
SELECT line_number, error, type, database, user_name, address, auth_method FROM pg_hba_file_rules
WHERE error IS NOT NULL OR (type, auth_method) NOT IN (('local', 'peer'), ('hostssl', 'scram-sha-256'));
SELECT rolname FROM pg_authid WHERE rolpassword NOT LIKE 'SCRAM-SHA-256$%';
-- Set the password that standbys log in with: whether it is the primary, and then the role.
SELECT pg_is_in_recovery() AS standby \gset
\if :standby
\else
SELECT rolcanlogin, rolvaliduntil, rolpassword FROM pg_authid WHERE rolname = 'pgautofailover_replicator';
-- Make the application's role and database on the primary.
SELECT rolcanlogin, rolvaliduntil, rolpassword FROM pg_authid WHERE rolname = 'app';
SELECT datname, pg_get_userbyid(datdba), datconnlimit FROM pg_database WHERE datname = 'app';
SELECT a.privilege_type FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) a WHERE datname = 'app' AND a.grantee = 0;
\endif
SQL
echo looked
