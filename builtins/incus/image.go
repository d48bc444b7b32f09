package incus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/pgrun/pgrun/runtime/builtin"
	"github.com/pgrun/pgrun/runtime/host"
	"github.com/pgrun/pgrun/runtime/incus"
)

type imageParams struct {
	aliasParams
	Source  string        `star:"source" doc:"An image of an image server, REMOTE:IMAGE, such as \"images:debian/13\". The daemon downloads it. Either this or file."`
	File    string        `star:"file" doc:"Absolute path, on the machine that pgrun runs on, of the image's tarball, or with rootfs that of its metadata."`
	Rootfs  string        `star:"rootfs" doc:"Absolute path of the root file system, where it is not in file: a tarball, a squashfs, or a virtual machine's disk."`
	Timeout time.Duration `star:"timeout" doc:"How long the download or import may take."`
}

type aliasParams struct {
	Alias string `star:"alias,required" doc:"The image's alias."`
}

// imported is what incus.image learns.
type imported struct {
	Fingerprint string `star:"fingerprint" doc:"SHA-256 of the image."`
}

func (p imageParams) validate() error {
	switch {
	case (p.Source == "") == (p.File == ""):
		return errors.New("source: give either it or file")
	case p.Source != "" && p.Rootfs != "":
		return errors.New("rootfs: goes with file, not with source")
	}
	for name, path := range map[string]string{"file": p.File, "rootfs": p.Rootfs} {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("%s: %q is not an absolute path", name, path)
		}
	}
	return nil
}

func checkImage(ctx context.Context, r host.Reader, p imageParams) (*builtin.Change, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	s, have, err := lookAlias(ctx, r, p.Alias)
	if err != nil {
		return nil, err
	}
	files := incus.ImageFiles{Metadata: p.File, Rootfs: p.Rootfs}
	same := have != nil
	if p.File != "" {
		fingerprint, err := files.Fingerprint()
		if err != nil {
			return nil, fmt.Errorf("file: %w", err)
		}
		same = have != nil && have.Fingerprint == fingerprint
	}
	if same {
		return &builtin.Change{Learned: imported{have.Fingerprint}}, nil
	}
	change := &builtin.Change{Summary: []string{fmt.Sprintf("import image %s from %s", p.Alias, p.Source+p.File)}}
	change.Apply = func(ctx context.Context, _ host.Host) error {
		ctx, cancel := within(ctx, p.Timeout, "the image is not there")
		defer cancel()
		var got imported
		var err error
		if p.Source != "" {
			got.Fingerprint, err = s.PullImage(ctx, p.Source, p.Alias)
		} else {
			got.Fingerprint, err = s.ImportImage(ctx, files, p.Alias)
		}
		change.Learned = got
		return err
	}
	return change, nil
}

// lookAlias returns the image that has an alias, or nil. A fingerprint is no alias.
func lookAlias(ctx context.Context, r host.Reader, alias string) (*incus.Server, *incus.Image, error) {
	s, _, err := daemon(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	have, err := s.Image(ctx, alias)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !slices.Contains(have.Aliases, alias) {
		return s, nil, nil
	}
	return s, &have, err
}

func checkImageAbsent(ctx context.Context, r host.Reader, p aliasParams) (*builtin.Change, error) {
	s, have, err := lookAlias(ctx, r, p.Alias)
	if err != nil || have == nil {
		return nil, err
	}
	if len(have.Aliases) > 1 {
		return &builtin.Change{
			Summary: []string{fmt.Sprintf("remove alias %s of image %.12s", p.Alias, have.Fingerprint)},
			Apply:   func(ctx context.Context, _ host.Host) error { return s.DeleteImageAlias(ctx, p.Alias) },
		}, nil
	}
	return &builtin.Change{
		Summary: []string{fmt.Sprintf("delete image %s (%.12s)", p.Alias, have.Fingerprint)},
		Apply:   func(ctx context.Context, _ host.Host) error { return s.DeleteImage(ctx, have.Fingerprint) },
	}, nil
}

type imageInfoParams struct {
	Image string `star:"image,required" doc:"An alias, a fingerprint or the beginning of one."`
}

// imageInfo is what incus.image_info returns.
type imageInfo struct {
	Exists       bool              `star:"exists" doc:"Whether it is there. If it is not, the other attributes are empty."`
	Fingerprint  string            `star:"fingerprint" doc:"SHA-256 of the image."`
	Aliases      []string          `star:"aliases" doc:"Its names."`
	Type         string            `star:"type" doc:"container or virtual-machine."`
	Architecture string            `star:"architecture" doc:"The kernel's word: x86_64, aarch64, ..."`
	Size         int64             `star:"size" doc:"Bytes."`
	Properties   map[string]string `star:"properties" doc:"os, release, description and others."`
}

func describeImage(ctx context.Context, r host.Reader, p imageInfoParams) (imageInfo, error) {
	s, _, err := daemon(ctx, r)
	if err != nil {
		return imageInfo{}, err
	}
	have, err := s.Image(ctx, p.Image)
	if errors.Is(err, fs.ErrNotExist) {
		return imageInfo{}, nil
	}
	return imageInfo{err == nil, have.Fingerprint, have.Aliases, have.Type, have.Architecture, have.Size, have.Properties}, err
}

type imageOfferedParams struct {
	Source  string        `star:"source,required" doc:"REMOTE:IMAGE, such as \"images:debian/13\"."`
	Timeout time.Duration `star:"timeout" doc:"How long the server has to answer."`
}

func imageOffered(ctx context.Context, r host.Reader, p imageOfferedParams) (bool, error) {
	s, _, err := daemon(ctx, r)
	if err != nil {
		return false, err
	}
	ctx, cancel := within(ctx, p.Timeout, "no answer")
	defer cancel()
	return s.ImageOffered(ctx, p.Source)
}
