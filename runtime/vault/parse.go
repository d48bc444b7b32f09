package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
)

// parse returns the root of the one document in text, nil where there is none.
func (l *loader) parse(text []byte) (*yaml.Node, error) {
	var document, second yaml.Node
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s: set up the YAML parser: %w", l.path, err)
	}
	switch err := next(loader, &document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, l.syntax(err)
	}
	switch err := next(loader, &second); {
	case err == nil:
		return nil, l.fail(&second, errors.New("a second document begins: keep one in the file"))
	case !errors.Is(err, io.EOF):
		return nil, l.syntax(err)
	}
	if len(document.Content) != 1 {
		return nil, nil
	}
	return document.Content[0], nil
}

// next turns a panic into an error: the parser panics where it finds itself in
// a state it takes for impossible, and its input is not ours to trust.
func next(loader *yaml.Loader, n *yaml.Node) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the YAML parser failed")
		}
	}()
	return loader.Load(n)
}

// syntax keeps the position of the parser's error, and of its text only what is
// known not to quote the file.
func (l *loader) syntax(cause error) error {
	err := fmt.Errorf("%w: syntax error", ErrYAML)
	var at *yaml.LoadError
	if !errors.As(cause, &at) {
		return fmt.Errorf("%s: %w", l.path, err)
	}
	if why := explained[at.Message]; why != "" {
		err = fmt.Errorf("%w: %s", err, why)
	}
	if at.Mark.Line == 0 { // the parser's reader knows no lines
		return fmt.Errorf("%s: %w", l.path, err)
	}
	return l.position(at.Mark.Line, at.Mark.Column, err)
}

// explained has the parser's usual messages, none of which has a part that
// varies, and what to say for them. Any other is left out.
var explained = map[string]string{
	"block sequence entries are not allowed in this context":       "a list item cannot begin here",
	"could not find expected ':'":                                  "a key without its colon, or text that needs quotes",
	"did not find expected ',' or ']'":                             "a list in [ ] lacks a comma or its end",
	"did not find expected ',' or '}'":                             "a mapping in { } lacks a comma or its end",
	"did not find expected '-' indicator":                          "an item indented differently from the list it is in",
	"did not find expected <document start>":                       "the document ended above: look at the indentation",
	"did not find expected key":                                    "a key indented differently from those above it",
	"did not find expected node content":                           "a value is missing",
	"exceeded max depth of 10000":                                  "lists or mappings nested too deeply",
	"found a tab character that violates indentation":              "indented with a tab: use spaces",
	"found a tab character where an indentation space is expected": "indented with a tab: use spaces",
	"found character that cannot start any token":                  "a value that begins with this character needs quotes",
	"found undefined tag handle":                                   "a tag with an unknown prefix",
	"found unexpected end of stream":                               "a quotation mark is not closed",
	"found unknown escape character":                               `a \ in double quotes that begins no known escape: use single quotes`,
	"mapping keys are not allowed in this context":                 "a key cannot begin here",
	"mapping values are not allowed in this context":               "a colon too many, or text that needs quotes",
}
