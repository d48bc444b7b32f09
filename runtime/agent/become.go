package agent

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// becomeOnThread gives the calling thread alone another user, with its groups, for good.
func becomeOnThread(as *syscall.Credential) error {
	if strconv.IntSize == 32 { // where these system calls are old ones, with numbers of 16 bits
		return errors.New("connecting as another user is not supported on a 32-bit machine")
	}
	groups := as.Groups
	if len(groups) == 0 {
		groups = []uint32{as.Gid}
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0)
	if errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	gid, uid := uintptr(as.Gid), uintptr(as.Uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return os.NewSyscallError("setresgid", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return os.NewSyscallError("setresuid", errno)
	}
	return nil
}
