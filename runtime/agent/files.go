package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"unicode/utf8"

	"github.com/pgrun/pgrun/runtime/host"
)

// maxEntries is how many names a directory may have to be listed.
const maxEntries = 100_000

// checkPath refuses what has no meaning on a machine: an agent's working directory is nobody's.
func checkPath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("the path %q is not absolute", path)
	}
	return nil
}

func (s *server) stat(path string) (reply, error) {
	info, err := s.info(path)
	if err != nil {
		return reply{}, err
	}
	return reply{Info: &info}, nil
}

// info describes path without following a final link.
func (s *server) info(path string) (host.Info, error) {
	if err := checkPath(path); err != nil {
		return host.Info{}, err
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return host.Info{}, err
	}
	st := fi.Sys().(*syscall.Stat_t)
	info := host.Info{
		Name:    fi.Name(),
		Mode:    fi.Mode(),
		Size:    fi.Size(),
		ModTime: fi.ModTime().UTC(),
		Owner:   s.accounts.userName(st.Uid),
		Group:   s.accounts.groupName(st.Gid),
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		if info.Target, err = os.Readlink(path); err != nil {
			return host.Info{}, err
		}
	}
	if !utf8.ValidString(info.Name) || !utf8.ValidString(info.Target) {
		return host.Info{}, fmt.Errorf("%q: a file name that is not UTF-8", path)
	}
	return info, nil
}

// openRegular opens a regular file for reading. A FIFO would block, a device might act.
func openRegular(path string) (*os.File, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("not a regular file but %s", fileKind(fi.Mode()))}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// fileKind is a word for a file's type.
func fileKind(m fs.FileMode) string {
	switch m.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a FIFO"
	case fs.ModeSocket:
		return "a socket"
	case 0:
		return "a regular file"
	}
	return "a device"
}

// readFile sends a file's content in pieces. The size that stat gives is not trusted: it is 0 in
// /proc, and a file may grow.
func readFile(path string, body func([]byte) error) error {
	f, err := openRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := pieces.Get().(*[maxData]byte)[:]
	defer pieces.Put((*[maxData]byte)(buf))
	for total := 0; ; {
		n, err := f.Read(buf)
		if total += n; total > host.MaxRead {
			return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("the file is larger than %d bytes", host.MaxRead)}
		}
		if sendErr := body(buf[:n]); sendErr != nil {
			return sendErr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readDir sends a directory's entries in the order of names, each as a line of JSON.
func (s *server) readDir(ctx context.Context, path string, body func([]byte) error) error {
	if err := checkPath(path); err != nil {
		return err
	}
	d, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	var names []string
	for {
		more, err := d.Readdirnames(1000)
		if names = append(names, more...); len(names) > maxEntries {
			return &fs.PathError{Op: "list", Path: path, Err: fmt.Errorf("more than %d entries", maxEntries)}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	slices.Sort(names)
	total, lines := 0, []byte(nil)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := s.info(filepath.Join(path, name))
		if os.IsNotExist(err) {
			continue // it went since the names were read
		}
		if err != nil {
			return err
		}
		line, err := json.Marshal(info)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
		if total += len(line) + 1; total > host.MaxRead {
			return &fs.PathError{Op: "list", Path: path, Err: fmt.Errorf("the list is longer than %d bytes", host.MaxRead)}
		}
		if len(lines) > maxData/2 {
			if err := body(lines); err != nil {
				return err
			}
			lines = lines[:0]
		}
	}
	return body(lines)
}

// hash computes a file's SHA-256.
func hash(ctx context.Context, path string) (reply, error) {
	f, err := openRegular(path)
	if err != nil {
		return reply{}, err
	}
	defer f.Close()
	sum, buf := sha256.New(), make([]byte, 128<<10)
	for {
		if err := ctx.Err(); err != nil {
			return reply{}, err
		}
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		if err == io.EOF {
			return reply{Hash: hex.EncodeToString(sum.Sum(nil))}, nil
		}
		if err != nil {
			return reply{}, err
		}
	}
}
