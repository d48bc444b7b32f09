package incus

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"
)

// Image is what instances are made of.
type Image struct {
	Fingerprint  string // SHA-256 of its files
	Aliases      []string
	Type         string // "container" or "virtual-machine"
	Architecture string
	Size         int64 // bytes
	Uploaded     time.Time
	Properties   map[string]string // "os", "release", "description", ...
}

// Image returns the image with an alias, a fingerprint or the beginning of one. One that does not
// exist is fs.ErrNotExist.
func (s *Server) Image(ctx context.Context, ref string) (Image, error) {
	got, err := look(ctx, s, fmt.Sprintf("look at image %q", ref), func(ctx context.Context) (*api.Image, error) {
		c := s.client(ctx)
		fingerprint := ref
		alias, _, err := c.GetImageAlias(ref)
		if err == nil {
			fingerprint = alias.Target
		}
		var got *api.Image
		if err == nil || api.StatusErrorCheck(err, http.StatusNotFound) {
			got, _, err = c.GetImage(fingerprint)
		}
		return got, err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, fmt.Errorf("no image %q on %s: incus image list shows those that are there, incus image import brings one: %w", ref, s, fs.ErrNotExist)
	}
	if err != nil {
		return Image{}, err
	}
	image := Image{
		Fingerprint:  got.Fingerprint,
		Type:         got.Type,
		Architecture: got.Architecture,
		Size:         got.Size,
		Uploaded:     got.UploadedAt,
		Properties:   got.Properties,
	}
	for _, a := range got.Aliases {
		image.Aliases = append(image.Aliases, a.Name)
	}
	return image, nil
}

// ImageFiles are the files of an image: either one tarball with all (Metadata alone), or metadata
// and root file system apart.
type ImageFiles struct{ Metadata, Rootfs string }

// Fingerprint is the one that Incus will give the image: so whether it is there can be told without
// sending it.
func (f ImageFiles) Fingerprint() (string, error) {
	hash := sha256.New()
	for _, path := range []string{f.Metadata, f.Rootfs} {
		if path == "" {
			continue
		}
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(hash, file)
		_ = file.Close()
		if err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}

// ImportImage brings an image to the server, unless it is there, and gives it an alias, which it
// takes from another image that has it; "" is none. It returns the fingerprint.
func (s *Server) ImportImage(ctx context.Context, files ImageFiles, alias string) (string, error) {
	ctx, cancel := bounded(ctx, createTimeout)
	defer cancel()
	doing := "import image " + files.Metadata
	fingerprint, err := files.Fingerprint()
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	if _, err := s.Image(ctx, fingerprint); errors.Is(err, fs.ErrNotExist) {
		if err := s.upload(ctx, files); err != nil {
			return "", s.explain(ctx, doing, err)
		}
	} else if err != nil {
		return "", err
	}
	return fingerprint, s.SetImageAlias(ctx, alias, fingerprint)
}

func (s *Server) upload(ctx context.Context, files ImageFiles) error {
	meta, err := os.Open(files.Metadata)
	if err != nil {
		return err
	}
	defer meta.Close()
	args := client.ImageCreateArgs{MetaFile: untilDone{ctx, meta}, MetaName: filepath.Base(files.Metadata), Type: "container"}
	if files.Rootfs != "" {
		rootfs, err := os.Open(files.Rootfs)
		if err != nil {
			return err
		}
		defer rootfs.Close()
		args.RootfsFile, args.RootfsName = untilDone{ctx, rootfs}, filepath.Base(files.Rootfs)
		if virtualMachine(rootfs) {
			args.Type = "virtual-machine"
		}
	}
	// The request knows no contexts either: one that gets no answer is left behind.
	type answer struct {
		op  client.Operation
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		op, err := s.client(ctx).CreateImage(api.ImagesPost{}, &args)
		answers <- answer{op, err}
	}()
	select {
	case a := <-answers:
		if a.err == nil {
			_, a.err = s.finish(ctx, a.op)
		}
		return a.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// virtualMachine reports whether a root file system is a disk image (qcow2), not a tarball or
// squashfs.
func virtualMachine(rootfs *os.File) bool {
	magic := make([]byte, 4)
	n, _ := rootfs.ReadAt(magic, 0)
	return n == 4 && string(magic) == "QFI\xfb"
}

// untilDone is a reader that fails when ctx ends: the client's upload knows no contexts.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}

// PullImage has the daemon download an image of an image server, such as "images:debian/13", and
// gives it an alias. It returns the fingerprint.
func (s *Server) PullImage(ctx context.Context, ref, alias string) (string, error) {
	ctx, cancel := bounded(ctx, createTimeout)
	defer cancel()
	doing := fmt.Sprintf("download image %q", ref)
	source, remote, err := s.remoteImage(ref)
	if err != nil {
		return "", err
	}
	if !remote {
		return "", fmt.Errorf("%s: it names no image server: write REMOTE:IMAGE", doing)
	}
	op, err := s.client(ctx).CreateImage(api.ImagesPost{Source: &api.ImagesPostSource{
		Type: "image", Mode: "pull", ImageSource: source,
	}}, nil)
	if err != nil {
		return "", s.explain(ctx, doing, err)
	}
	done, err := s.finish(ctx, op)
	if err != nil {
		return "", s.explain(ctx, doing, err)
	}
	fingerprint, _ := done.Metadata["fingerprint"].(string)
	return fingerprint, s.SetImageAlias(ctx, alias, fingerprint)
}

// SetImageAlias makes an alias mean an image, which it may have to leave another for. The empty
// alias does nothing.
func (s *Server) SetImageAlias(ctx context.Context, alias, fingerprint string) error {
	if alias == "" {
		return nil
	}
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	c := s.client(ctx)
	return s.explain(ctx, fmt.Sprintf("give image %.12s the alias %q", fingerprint, alias), again(ctx, func() error {
		have, etag, err := c.GetImageAlias(alias)
		switch {
		case api.StatusErrorCheck(err, http.StatusNotFound):
			return c.CreateImageAlias(api.ImageAliasesPost{ImageAliasesEntry: api.ImageAliasesEntry{
				Name: alias, ImageAliasesEntryPut: api.ImageAliasesEntryPut{Target: fingerprint},
			}})
		case err != nil || have.Target == fingerprint:
			return err
		}
		return c.UpdateImageAlias(alias, api.ImageAliasesEntryPut{Description: have.Description, Target: fingerprint}, etag)
	}))
}

// DeleteImage deletes an image with its aliases; instances made of it stay. One that does not exist
// is fine.
func (s *Server) DeleteImage(ctx context.Context, fingerprint string) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	op, err := s.client(ctx).DeleteImage(fingerprint)
	if err == nil {
		_, err = s.finish(ctx, op)
	}
	return s.explain(ctx, fmt.Sprintf("delete image %q", fingerprint), unlessAbsent(err))
}

// DeleteImageAlias removes an alias; the image stays. One that does not exist is fine.
func (s *Server) DeleteImageAlias(ctx context.Context, alias string) error {
	ctx, cancel := bounded(ctx, writeTimeout)
	defer cancel()
	return s.explain(ctx, fmt.Sprintf("remove image alias %q", alias), unlessAbsent(s.client(ctx).DeleteImageAlias(alias)))
}

// ImageOffered asks an image server, from this machine, whether it has an image: "images:debian/13". A
// server that does not answer until ctx ends, or in some other way cannot be asked, offers none.
func (s *Server) ImageOffered(ctx context.Context, ref string) (bool, error) {
	ctx, cancel := bounded(ctx, tryTimeout)
	defer cancel()
	source, remote, err := s.remoteImage(ref)
	if err != nil {
		return false, err
	}
	if !remote {
		return false, fmt.Errorf("image %q names no image server: write REMOTE:IMAGE", ref)
	}
	args := client.ConnectionArgs{
		HTTPClient: &http.Client{}, TLSServerCert: source.Certificate, UserAgent: "pgrun", SkipGetServer: true,
		TransportWrapper: func(t *http.Transport) client.HTTPTransporter { return untilCancelled{ctx, t} },
	}
	connect := client.ConnectSimpleStreams
	if source.Protocol != "simplestreams" {
		connect = client.ConnectPublicIncus
	}
	server, err := connect(source.Server, &args)
	if err != nil {
		return false, nil
	}
	_, _, err = server.GetImageAlias(source.Alias)
	return err == nil, nil
}

// untilCancelled is a transport whose requests end with ctx: the client for image servers knows no contexts.
type untilCancelled struct {
	ctx   context.Context
	inner *http.Transport
}

func (u untilCancelled) RoundTrip(req *http.Request) (*http.Response, error) {
	return u.inner.RoundTrip(req.WithContext(u.ctx))
}

func (u untilCancelled) Transport() *http.Transport { return u.inner }
