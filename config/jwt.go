package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/option"
)

// A JWTKey is a key of tokens as a file spells it: one of Secret, PublicKeyFile and PrivateKeyFile.
type JWTKey struct {
	ID        string `json:"id"`
	Algorithm string `json:"algorithm"`
	// Secret is HS256's, at least 32 bytes long.
	Secret string `json:"secret,omitempty"`
	// PublicKeyFile and PrivateKeyFile are paths of files in PEM, as auth.ParseJWTKey reads them.
	PublicKeyFile  string `json:"public_key_file,omitempty"`
	PrivateKeyFile string `json:"private_key_file,omitempty"`
}

// validate checks what can be checked without a file.
func (k JWTKey) validate() error {
	key := auth.JWTKey{ID: k.ID, Algorithm: k.Algorithm, Secret: []byte(k.Secret)}
	if err := key.ValidateName(); err != nil {
		return err
	}
	switch files := k.PublicKeyFile + k.PrivateKeyFile; {
	case k.Algorithm == auth.HS256 && files != "":
		return option.Invalid("Keys", nil, "%s: want a secret, and no file; %s has it", clip(k.ID, 80), k.Algorithm)
	case k.Algorithm == auth.HS256:
		return key.Validate()
	case k.Secret != "" || files == "" || files != k.PublicKeyFile && files != k.PrivateKeyFile:
		return option.Invalid("Keys", nil, "%s: want public_key_file or private_key_file, one of the two, which %s has, and no secret", clip(k.ID, 80), k.Algorithm)
	}
	return nil
}

// Signs reports whether tokens can be signed with the key.
func (k JWTKey) Signs() bool { return k.PublicKeyFile == "" }

// maxKeyFileBytes bounds a file of a key.
const maxKeyFileBytes = 64 << 10

// Read reads the key's file, if it has one, and checks the key. k must be valid. Its error quotes nothing of the key but its
// ID.
func (k JWTKey) Read() (auth.JWTKey, error) {
	key := auth.JWTKey{ID: k.ID, Algorithm: k.Algorithm}
	if k.Algorithm == auth.HS256 {
		key.Secret = []byte(k.Secret)
		return key, key.Validate()
	}
	member, path := "public_key_file", k.PublicKeyFile
	if k.Signs() {
		member, path = "private_key_file", k.PrivateKeyFile
	}
	text, err := readFileOf(path, maxKeyFileBytes)
	if err == nil {
		key.Public, key.Private, err = auth.ParseJWTKey(text)
	}
	switch {
	case err != nil:
	case k.Signs() && key.Private == nil:
		err = errors.New("it holds a public key; name it public_key_file")
	case !k.Signs() && key.Private != nil:
		err = errors.New("it holds a private key, which a gateway needs not; name the public one, or name it private_key_file")
	}
	if err != nil {
		return auth.JWTKey{}, fmt.Errorf("%s: %s: %w", clip(k.ID, 80), member, err)
	}
	return key, key.Validate()
}

// readFileOf reads a file of at most so many bytes.
func readFileOf(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("it is larger than %s", printSize(most))
	}
	return text, err
}

var jwtKeyFields = fieldsOf[JWTKey]()

// jwtKeys is a list in the file, and the same as one line of YAML or JSON elsewhere.
func jwtKeys(at func(*Config) *[]JWTKey) codec {
	const form = "a list of keys, each with an id, an algorithm, and a secret, public_key_file or private_key_file"
	return codec{
		form:     form,
		verbatim: true,
		set: func(c *Config, raw any) error {
			list, err := parseItems[JWTKey](raw, "key", jwtKeyFields)
			if err != nil {
				return eachWanting(err, form)
			}
			*at(c) = list
			return nil
		},
		get:   func(c *Config) string { return printKeys(*at(c), func(secret string) string { return secret }) },
		show:  func(c *Config) string { return printKeys(*at(c), func(string) string { return masked }) },
		zero:  func(c *Config) bool { return len(*at(c)) == 0 },
		spoil: func(*Config) {},
	}
}

// printKeys gives the list as one line of JSON; "" for none.
func printKeys(list []JWTKey, secret func(string) string) string {
	if len(list) == 0 {
		return ""
	}
	shown := make([]JWTKey, len(list))
	for i, k := range list {
		if k.Secret != "" {
			k.Secret = secret(k.Secret)
		}
		shown[i] = k
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(shown) // texts, into memory: it cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}
