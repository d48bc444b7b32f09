package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// try opens a vault with the first password that fits. A password that cannot
// be obtained does not keep the next from being tried, as in Ansible; it is
// reported when none fits. A prompt that fails, or a cancelled context, is the
// user's answer and ends the search.
func (ids *Identities) try(ctx context.Context, sealed envelope) ([]byte, Secret, error) {
	var tried []string
	var unavailable []error
	for _, id := range ids.inOrder(sealed.label) {
		password, err := ids.obtain(ctx, id)
		if err != nil {
			if ctx.Err() != nil || id.source.final() {
				return nil, "", err
			}
			unavailable = append(unavailable, err)
			continue
		}
		k, err := ids.keys.get(password, sealed.salt)
		if err != nil {
			return nil, "", err
		}
		plain, err := k.open(sealed)
		if err == nil {
			return plain, password, nil
		}
		if !errors.Is(err, ErrMismatch) {
			return nil, "", err
		}
		tried = append(tried, id.String())
	}
	return nil, "", noneFits(sealed.label, tried, unavailable)
}

// noneFits names the label although errors quote nothing else of a file: it is a
// nickname, readable in any vault, and says which password to look for.
func noneFits(label string, tried []string, unavailable []error) error {
	var reasons []error
	switch {
	case len(tried) > 0:
		reasons = append(reasons, fmt.Errorf("%w (its label is %q; tried %s): check the password, or restore the file from a copy",
			ErrMismatch, label, strings.Join(tried, ", ")))
	case len(unavailable) == 0:
		reasons = append(reasons, fmt.Errorf("%w: %s", ErrNoPassword, howToGive))
	}
	reasons = append(reasons, unavailable...)
	err := reasons[0]
	for _, next := range reasons[1:] { // errors.Join would break the line
		err = fmt.Errorf("%w; %w", err, next)
	}
	return err
}

// inOrder yields those with the label first, then the others.
func (ids *Identities) inOrder(label string) []*identity {
	if ids == nil {
		return nil
	}
	var matching, others []*identity
	for _, id := range ids.list {
		if id.label == label {
			matching = append(matching, id)
		} else {
			others = append(others, id)
		}
	}
	return append(matching, others...)
}

// obtain returns the identity's password, reading it the first time. A failure
// is kept as well: nobody wants to be asked, or to wait for a script, once for
// every host. Only an interrupted attempt may be made again.
func (ids *Identities) obtain(ctx context.Context, id *identity) (Secret, error) {
	select {
	case ids.busy <- struct{}{}:
	default:
		select {
		case ids.busy <- struct{}{}:
		case <-ctx.Done():
			return "", fmt.Errorf("wait for the password of %s: %w", id, context.Cause(ctx))
		}
	}
	defer func() { <-ids.busy }()
	if id.obtained {
		return id.password, id.err
	}
	password, err := id.source.read(ctx, ids.scriptTime)
	if err == nil && len(password) == 0 {
		err = fmt.Errorf("the vault password of %s is empty: give one", id)
	}
	if err != nil && ctx.Err() != nil {
		return "", err
	}
	id.obtained, id.password, id.err = true, Secret(password), err
	if ids.learn != nil {
		ids.learn(string(password))
	}
	return id.password, id.err
}

// String names the identity as --vault-id would.
func (id *identity) String() string { return id.label + "@" + id.source.String() }
