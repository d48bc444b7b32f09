package incus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/pgrun/pgrun/runtime/incus"
)

// What a start can wait for.
const (
	waitAddress = "address"
	waitExec    = "exec"
	waitNone    = "none"
)

type waitParams struct {
	Wait    string        `star:"wait" doc:"When it counts as up: \"address\", once it has an IPv4 address on its first network interface, if it has one, and commands can be run; \"exec\", once commands can be run; \"none\", at once."`
	Timeout time.Duration `star:"timeout" doc:"How long that may take from its start."`
}

func (w waitParams) validate() error {
	if slices.Contains([]string{waitAddress, waitExec, waitNone}, w.Wait) {
		return nil
	}
	return fmt.Errorf("wait: %q is neither \"address\" nor \"exec\" nor \"none\"", w.Wait)
}

// up waits until an instance is up and returns its address: empty where none was waited for.
func (w waitParams) up(ctx context.Context, s *incus.Server, name string) (address string, err error) {
	if w.Wait == waitNone {
		return "", nil
	}
	ctx, cancel := within(ctx, w.Timeout, "not up")
	defer cancel()
	if err := s.WaitExec(ctx, name); err != nil || w.Wait == waitExec {
		return "", err
	}
	instance, err := s.Instance(ctx, name)
	if err != nil {
		return "", err
	}
	iface, ok := firstInterface(instance)
	if !ok {
		return "", nil
	}
	return s.WaitAddress(ctx, name, iface, "inet")
}

// address is the IPv4 address that an instance has by now, or "".
func address(ctx context.Context, s *incus.Server, instance incus.Instance) (string, error) {
	iface, ok := firstInterface(instance)
	if !ok || instance.Status != "Running" {
		return "", nil
	}
	list, err := s.Addresses(ctx, instance.Name)
	for _, a := range list {
		if a.Family == "inet" && a.Scope == "global" && (iface == "" || a.Interface == iface) {
			return a.Address, err
		}
	}
	return "", err
}

// firstInterface names an instance's first network interface as the instance sees it; ok is whether it has
// one. A virtual machine names its interfaces by itself: "" stands for any.
func firstInterface(instance incus.Instance) (name string, ok bool) {
	device, keys := nic(instance)
	if keys == nil || instance.Type == "virtual-machine" {
		return "", keys != nil
	}
	return cmp.Or(keys["name"], device), true
}

// fixedAddress is the IPv4 address that an instance's first network interface is configured to get, or "".
func fixedAddress(instance incus.Instance) string {
	_, keys := nic(instance)
	if net.ParseIP(keys["ipv4.address"]) == nil {
		return "" // there is "none", too
	}
	return keys["ipv4.address"]
}

// nic is an instance's first network interface, by the name of its device; nil where it has none.
func nic(instance incus.Instance) (device string, keys map[string]string) {
	for _, device := range slices.Sorted(maps.Keys(instance.ExpandedDevices)) {
		if keys := instance.ExpandedDevices[device]; keys["type"] == "nic" {
			return device, keys
		}
	}
	return "", nil
}

// within gives ctx a deadline of the builtin's own: running into it is no deadline of the playbook's.
func within(ctx context.Context, d time.Duration, what string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("%s after %v", what, d))
}
