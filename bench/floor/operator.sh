# The looks of postgres_ha.star on the operator's side, by hand. $1 is the formation's directory.
set -eu
umask 077

# Keep a certificate authority: its certificate and key, and who may read them.
stat -c '%n %F %U %G %a' "$1/ca" "$1/ca/ca.key" "$1/ca/ca.crt"
openssl x509 -in "$1/ca/ca.crt" -noout -subject -enddate
sha256sum < "$1/ca/ca.key"

# Keep the passwords of the formation's own roles.
stat -c '%n %F %U %G %a' "$1/autoctl_node.password" "$1/pgautofailover_replicator.password"
cat "$1/autoctl_node.password" "$1/pgautofailover_replicator.password" | sha256sum

# Launch the container: the instances with their settings, in one request.
incus query '/1.0/instances?recursion=1' | grep -c '"limits.memory"'
echo looked
