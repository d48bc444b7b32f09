# The looks that are the monitor's alone. It follows machine.sh.

# Create the monitor and keep it running: our mark that it was created to its end.
stat -c '%n %F' $config$pgdata/created.pgrun

# What the playbook asks the server, in one session.
runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d pg_auto_failover <<'SQL'
-- Create the monitor and keep it running: whether it has read its files since they changed.
SELECT pg_conf_load_time();
SELECT DISTINCT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL;
SELECT sourcefile, sourceline, name, error FROM pg_file_settings WHERE error IS NOT NULL;
SELECT line_number, error FROM pg_ident_file_mappings WHERE error IS NOT NULL;
-- Create the monitor and keep it running: the role that nodes log in as.
SELECT rolcanlogin, rolvaliduntil, rolpassword FROM pg_authid WHERE rolname = 'autoctl_node';
-- Restart PostgreSQL where a setting waits for it.
SELECT name FROM pg_settings WHERE pending_restart;
-- Check that nobody gets in without TLS and a SCRAM password.
SELECT line_number, error, type, database, user_name, address, auth_method FROM pg_hba_file_rules
WHERE error IS NOT NULL OR (type, auth_method) NOT IN (('local', 'peer'), ('hostssl', 'scram-sha-256'));
SELECT rolname FROM pg_authid WHERE rolpassword NOT LIKE 'SCRAM-SHA-256$%';
-- Register nodes that a new monitor does not know; Join the formation; Have all data nodes acknowledge commits; Print the connection URI.
SELECT * FROM pgautofailover.formation f LEFT JOIN pgautofailover.node n USING (formationid) WHERE f.formationid = 'default' ORDER BY n.nodeid;
SQL
echo looked
