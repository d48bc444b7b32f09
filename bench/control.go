package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pgrun/pgrun/runtime/incus"
)

// control is the container that Ansible runs in.
const control = prefix + "control"

// Where Ansible's files are in it, and the host's Incus socket.
const (
	controlDir    = "/root/bench"
	controlSocket = "/root/incus.socket"
)

// inControl is a command in the control container, as Ansible's user runs it.
func inControl(ctx context.Context, argv ...string) *exec.Cmd {
	return incusCommand(ctx, append([]string{"exec", "-T", control, "--cwd", controlDir,
		"--env", "INCUS_SOCKET=" + controlSocket, "--env", "LC_ALL=C.UTF-8", "--env", "USER=root", "--"}, argv...)...)
}

// installAnsible is for a container of Debian 13, whose package ansible has the Incus connection plugin.
const installAnsible = `set -e
mkdir -p ` + controlDir + `
command -v ansible-playbook > /dev/null && exit
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends ansible incus-client`

// controlContainer makes the control container: Ansible in it, the role, what the role copies, and the host's Incus
// socket, which root alone can use.
func (b *bench) controlContainer(ctx context.Context) error {
	if err := b.containers(ctx, nil, control); err != nil {
		return err
	}
	if _, err := output(incusCommand(ctx, "exec", "-T", control, "--", "sh", "-c", installAnsible)); err != nil {
		return err
	}
	// Added to a container that runs: at a start it would come before the container's own mounts.
	err := b.server.UpdateInstance(ctx, control, incus.Settings{Devices: map[string]map[string]string{"incus": {
		"type": "proxy", "bind": "instance", "connect": "unix:" + hostSocket(), "listen": "unix:" + controlSocket,
		"uid": "0", "gid": "0", "mode": "0600",
	}}})
	if err != nil {
		return err
	}
	if err := intoControl(ctx, command(ctx, "tar", "-C", filepath.Join(b.work, "ansible"), "-cf", "-", "."), controlDir); err != nil {
		return err
	}
	for _, name := range append([]string{monitor}, dataNodes...) {
		files := []string{"etc/pgaf", "etc/security/limits.d/90-pgrun.conf", "etc/systemd/system/pg_autoctl.service"}
		if name != monitor {
			files = append(files, "var/lib/postgresql/.pgpass")
		}
		read := incusCommand(ctx, append([]string{"exec", "-T", name, "--", "tar", "-C", "/", "-cf", "-"}, files...)...)
		if err := intoControl(ctx, read, controlDir+"/files/"+name); err != nil {
			return err
		}
	}
	passwords := command(ctx, "tar", "-C", formationDirectory(), "-cf", "-", "autoctl_node.password", "pgautofailover_replicator.password")
	return intoControl(ctx, passwords, controlDir+"/secrets")
}

// intoControl unpacks a tar file that a command prints into a directory of the control container. It holds secrets,
// which no error shows.
func intoControl(ctx context.Context, tar *exec.Cmd, dir string) error {
	var packed, said bytes.Buffer
	tar.Stdout, tar.Stderr = &packed, &said
	if err := tar.Run(); err != nil {
		return fmt.Errorf("read what Ansible copies: %w\n%s", err, tail(said.String()))
	}
	unpack := incusCommand(ctx, "exec", "-T", control, "--", "sh", "-c", `mkdir -p -m 0700 "$0" && tar -C "$0" -xf -`, dir)
	unpack.Stdin = &packed
	_, err := output(unpack)
	return err
}

// tidyAfterAnsible removes the temporary directories that Ansible leaves on the formation's machines.
func (b *bench) tidyAfterAnsible(ctx context.Context) error {
	for _, name := range append([]string{monitor}, dataNodes...) {
		if _, err := output(incusCommand(ctx, "exec", "-T", name, "--", "sh", "-c", "rm -rf /tmp/.ansible-*")); err != nil {
			return err
		}
	}
	return nil
}

// hostSocket is the Incus socket of this machine, as Incus's own tools find it.
func hostSocket() string {
	if socket := os.Getenv("INCUS_SOCKET"); socket != "" {
		return socket
	}
	dir := cmp.Or(os.Getenv("INCUS_DIR"), "/run/incus")
	if socket := filepath.Join(dir, "unix.socket"); exists(socket) {
		return socket
	}
	return "/var/lib/incus/unix.socket"
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
