package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// What is copied: a file of 100 MB, and a directory of 2,000 small files in 20 directories.
const (
	bigSize    = 100 << 20
	manyFiles  = 2000
	manyDirs   = 20
	smallSize  = 4 << 10
	bigCopy    = "/srv/big"
	manyCopies = "/srv/many"
)

// copyFile compares file.copy of a large file with Incus's own.
func copyFile(ctx context.Context, b *bench) ([]line, error) {
	if err := b.bigFile(); err != nil {
		return nil, err
	}
	f, err := b.copies(ctx, bigCopy, "copy_file.star", "file", "push", b.playbook("big"), fleetName(1)+bigCopy)
	if err != nil {
		return nil, err
	}
	return []line{{
		Work: "copy of a file of 100 MB", Ours: f[0], Against: "incus file push", Theirs: &f[1], Target: target{ratioAtMost, 1.2},
	}}, nil
}

// copyDirectory compares file.copy of many small files with Incus's own.
func copyDirectory(ctx context.Context, b *bench) ([]line, error) {
	if err := b.manySmallFiles(); err != nil {
		return nil, err
	}
	f, err := b.copies(ctx, manyCopies, "copy_directory.star", "file", "push", "-r", b.playbook("many"), fleetName(1)+filepath.Dir(manyCopies)+"/")
	if err != nil {
		return nil, err
	}
	return []line{{
		Work: "copy of 2,000 small files", Ours: f[0], Against: "incus file push -r", Theirs: &f[1], Target: target{timesFaster, 1},
	}}, nil
}

// copies has a playbook and the command line of Incus take turns in copying to a path, which is not there before.
func (b *bench) copies(ctx context.Context, path, playbook string, push ...string) ([]figure, error) {
	if err := b.fleetOf(ctx, 1); err != nil {
		return nil, err
	}
	away := func(ctx context.Context) error { return b.removed(ctx, path) }
	f, err := turns(ctx, b.warm, b.runs,
		side{unit: "s", command: "pgrun " + playbook, before: away, run: timed(func(ctx context.Context) error {
			return done(b.onFleet(ctx, 1, b.playbook(playbook)), "changed=1")
		})},
		side{unit: "s", command: "incus file push", before: away, run: timed(func(ctx context.Context) error {
			return done(incusCommand(ctx, push...), "")
		})},
	)
	if err != nil {
		return nil, err
	}
	return f, b.removed(ctx, path)
}

// removed removes a path in the first container of the fleet, and waits until the disk is done with it.
func (b *bench) removed(ctx context.Context, path string) error {
	_, err := output(incusCommand(ctx, "exec", "-T", fleetName(1), "--", "sh", "-c", `rm -rf "$0" && sync -f /srv`, path))
	return err
}

// bigFile makes the large file, of what does not compress.
func (b *bench) bigFile() error {
	return randomFile(b.playbook("big"), bigSize, 1)
}

// manySmallFiles makes the directory.
func (b *bench) manySmallFiles() error {
	for i := range manyFiles {
		dir := filepath.Join(b.playbook("many"), fmt.Sprintf("directory-%02d", i%manyDirs))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := randomFile(filepath.Join(dir, fmt.Sprintf("file-%04d", i)), smallSize, uint64(i)); err != nil {
			return err
		}
	}
	return nil
}

func randomFile(path string, size int, seed uint64) error {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(content) // never fails
	return os.WriteFile(path, content, 0o644)
}
