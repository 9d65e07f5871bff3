// What a client in Go makes of the server, with the standard library alone: lists and their elements into
// structs with strict types, certificates into crypto/x509, mutual TLS and EST with crypto/tls.
//
//	go run main.go HTTPS-URL TRUST-ANCHOR TOKEN BOOTSTRAP-CERTIFICATE BOOTSTRAP-KEY CA-OF-DEVICES
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// X509 is a certificate or request: the base64 of its PEM.
type X509 struct{ Certificate *x509.Certificate }

func (c *X509) UnmarshalJSON(text []byte) error {
	var wire *string
	if err := json.Unmarshal(text, &wire); err != nil || wire == nil {
		return err
	}
	octets, err := base64.StdEncoding.DecodeString(*wire)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(octets)
	if block == nil {
		return errors.New("no PEM")
	}
	c.Certificate, err = x509.ParseCertificate(block.Bytes)
	return err
}

// Enum is a text from a closed set, which the type parameter names.
type Enum[S set] string

type set interface{ values() string }

func (e *Enum[S]) UnmarshalJSON(text []byte) error {
	var word string
	if err := json.Unmarshal(text, &word); err != nil {
		return err
	}
	var known S
	for _, value := range strings.Fields(known.values()) {
		if word == value {
			*e = Enum[S](word)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", word, known.values())
}

type statuses struct{}

func (statuses) values() string { return "ACTIVE EXPIRED REVOKED INACTIVE" }

type types struct{}

func (types) values() string { return "MANAGED IMPORTED_WITH_KEY IMPORTED_WITHOUT_KEY" }

type reasons struct{}

func (reasons) values() string {
	return "Unspecified KeyCompromise CACompromise AffiliationChanged Superseded CessationOfOperation " +
		"CertificateHold RemoveFromCRL PrivilegeWithdrawn AACompromise"
}

type strengths struct{}

func (strengths) values() string { return "LOW MEDIUM HIGH" }

type keyTypes struct{}

func (keyTypes) values() string { return "RSA DSA ECDSA Ed25519 ML-DSA 0" }

type deviceStatuses struct{}

func (deviceStatuses) values() string {
	return "NO_IDENTITY ACTIVE RENEWAL_PENDING EXPIRING_SOON EXPIRED REVOKED DECOMMISSIONED"
}

type slotStatuses struct{}

func (slotStatuses) values() string { return "ACTIVE RENEWAL_PENDING EXPIRING_SOON EXPIRED REVOKED" }

type slotTypes struct{}

func (slotTypes) values() string { return "x509 TOKEN SSH_KEY OTHER" }

type keyUsages struct{}

func (keyUsages) values() string {
	return "DigitalSignature ContentCommitment KeyEncipherment DataEncipherment KeyAgreement CertSign CRLSign " +
		"EncipherOnly DecipherOnly"
}

type Subject struct {
	CommonName       string `json:"common_name"`
	Organization     string `json:"organization"`
	OrganizationUnit string `json:"organization_unit"`
	Country          string `json:"country"`
	State            string `json:"state"`
	Locality         string `json:"locality"`
}

type Validity struct {
	Type     string    `json:"type"`
	Duration string    `json:"duration"`
	Time     time.Time `json:"time"`
}

type Certificate struct {
	SerialNumber   string         `json:"serial_number"`
	SubjectKeyID   string         `json:"subject_key_id"`
	AuthorityKeyID string         `json:"authority_key_id"`
	Metadata       map[string]any `json:"metadata"`
	Status         Enum[statuses] `json:"status"`
	Certificate    X509           `json:"certificate"`
	KeyMetadata    struct {
		Type     Enum[keyTypes]  `json:"type"`
		Bits     int             `json:"bits"`
		Strength Enum[strengths] `json:"strength"`
	} `json:"key_metadata"`
	Subject    Subject   `json:"subject"`
	Issuer     Subject   `json:"issuer"`
	ValidFrom  time.Time `json:"valid_from"`
	Extensions struct {
		KeyUsage         []Enum[keyUsages] `json:"key_usage"`
		ExtendedKeyUsage []string          `json:"extended_key_usage"`
	} `json:"extensions"`
	IssuerMetadata struct {
		SerialNumber string `json:"serial_number"`
		ID           string `json:"id"`
		Level        int    `json:"level"`
	} `json:"issuer_metadata"`
	ValidTo             time.Time     `json:"valid_to"`
	RevocationTimestamp time.Time     `json:"revocation_timestamp"`
	RevocationReason    Enum[reasons] `json:"revocation_reason"`
	Type                Enum[types]   `json:"type"`
	EngineID            string        `json:"engine_id"`
	IsCA                bool          `json:"is_ca"`
}

type CA struct {
	ID           string         `json:"id"`
	Certificate  Certificate    `json:"certificate"`
	SerialNumber string         `json:"serial_number"`
	Metadata     map[string]any `json:"metadata"`
	CreationTS   time.Time      `json:"creation_ts"`
	Level        int            `json:"level"`
	ProfileID    string         `json:"profile_id"`
}

type Profile struct {
	ID                     string            `json:"id"`
	Name                   string            `json:"name"`
	Description            string            `json:"description"`
	Validity               Validity          `json:"validity"`
	SignAsCA               bool              `json:"sign_as_ca"`
	HonorKeyUsage          bool              `json:"honor_key_usage"`
	KeyUsage               []Enum[keyUsages] `json:"key_usage"`
	HonorExtendedKeyUsages bool              `json:"honor_extended_key_usages"`
	ExtendedKeyUsages      []string          `json:"extended_key_usages"`
	HonorSubject           bool              `json:"honor_subject"`
	Subject                Subject           `json:"subject"`
	HonorExtensions        bool              `json:"honor_extensions"`
	CryptoEnforcement      struct {
		Enabled              bool  `json:"enabled"`
		AllowRSAKeys         bool  `json:"allow_rsa_keys"`
		AllowedRSAKeySizes   []int `json:"allowed_rsa_key_sizes"`
		AllowECDSAKeys       bool  `json:"allow_ecdsa_keys"`
		AllowedECDSAKeySizes []int `json:"allowed_ecdsa_key_sizes"`
	} `json:"crypto_enforcement"`
}

type Key struct {
	PKCS11URI     string         `json:"pkcs11_uri"`
	KeyID         string         `json:"key_id"`
	Name          string         `json:"name"`
	Aliases       []string       `json:"aliases"`
	EngineID      string         `json:"engine_id"`
	HasPrivateKey bool           `json:"has_private_key"`
	Algorithm     string         `json:"algorithm"`
	Size          int            `json:"size"`
	PublicKey     string         `json:"public_key"`
	CreationTS    time.Time      `json:"creation_ts"`
	Tags          []string       `json:"tags"`
	Metadata      map[string]any `json:"metadata"`
}

type Event struct {
	Type        string `json:"type"`
	Description string `json:"description"`
}

type Slot[T any] struct {
	Status         Enum[slotStatuses]  `json:"status"`
	ActiveVersion  int                 `json:"active_version"`
	Type           Enum[slotTypes]     `json:"type"`
	Versions       map[int]T           `json:"versions"`
	ExpirationDate *time.Time          `json:"expiration_date"`
	Events         map[time.Time]Event `json:"events"`
}

type Device struct {
	ID                string               `json:"id"`
	Tags              []string             `json:"tags"`
	Status            Enum[deviceStatuses] `json:"status"`
	Icon              string               `json:"icon"`
	IconColor         string               `json:"icon_color"`
	CreationTimestamp time.Time            `json:"creation_timestamp"`
	Metadata          map[string]any       `json:"metadata"`
	DMSOwner          string               `json:"dms_owner"`
	Identity          *Slot[string]        `json:"identity"`
	Slots             map[string]Slot[any] `json:"slots"`
	Events            map[time.Time]Event  `json:"events"`
}

type EST struct {
	AuthMode                  string `json:"auth_mode"`
	ClientCertificateSettings struct {
		ValidationCAs        []string `json:"validation_cas"`
		ChainLevelValidation int      `json:"chain_level_validation"`
		AllowExpired         bool     `json:"allow_expired"`
	} `json:"client_certificate_settings"`
	ExternalWebhookSettings struct {
		Name, URL, Method string
		Config            struct {
			ValidateServerCert bool              `json:"validate_server_cert"`
			LogLevel           string            `json:"log_level"`
			AuthMode           string            `json:"auth_mode"`
			CallTimeout        string            `json:"call_timeout"`
			OIDC               map[string]string `json:"oidc"`
			APIKey             map[string]string `json:"apikey"`
			MTLS               map[string]string `json:"mtls"`
		} `json:"config"`
	} `json:"external_webhook_settings"`
}

type DMS struct {
	ID         string         `json:"id"`
	Name       string         `json:"name"`
	Metadata   map[string]any `json:"metadata"`
	CreationTS time.Time      `json:"creation_ts"`
	Settings   struct {
		ServerKeyGen struct {
			Enabled bool `json:"enabled"`
			Key     struct {
				Type Enum[keyTypes] `json:"type"`
				Bits int            `json:"bits"`
			} `json:"key"`
		} `json:"server_keygen_settings"`
		Enrollment struct {
			Protocol                  string `json:"protocol"`
			EST                       EST    `json:"est_rfc7030_settings"`
			DeviceProvisioningProfile struct {
				Icon      string         `json:"icon"`
				IconColor string         `json:"icon_color"`
				Metadata  map[string]any `json:"metadata"`
				Tags      []string       `json:"tags"`
			} `json:"device_provisioning_profile"`
			EnrollmentCA                string `json:"enrollment_ca"`
			EnableReplaceableEnrollment bool   `json:"enable_replaceable_enrollment"`
			RegistrationMode            string `json:"registration_mode"`
			VerifyCSRSignature          bool   `json:"verify_csr_signature"`
		} `json:"enrollment_settings"`
		ReEnrollment struct {
			EST                         EST      `json:"est_rfc7030_settings"`
			AdditionalValidationCAs     []string `json:"additional_validation_cas"`
			RevokeOnReEnrollment        bool     `json:"revoke_on_reenrollment"`
			ReEnrollmentDelta           string   `json:"reenrollment_delta"`
			EnableExpiredRenewal        bool     `json:"enable_expired_renewal"`
			PreventiveReEnrollmentDelta string   `json:"preventive_delta"`
			CriticalReEnrollmentDelta   string   `json:"critical_delta"`
		} `json:"reenrollment_settings"`
		CADistribution struct {
			IncludeSystemCA     bool     `json:"include_system_ca"`
			IncludeEnrollmentCA bool     `json:"include_enrollment_ca"`
			ManagedCAs          []string `json:"managed_cas"`
		} `json:"ca_distribution_settings"`
		IssuanceProfileID string   `json:"issuance_profile_id"`
		IssuanceProfile   *Profile `json:"issuance_profile"`
	} `json:"settings"`
}

// As the reference's SDK reads groups in lists: with operands as numbers, which only an empty list survives.
type Group struct {
	ID, Name, Description string
	ParentID              *string                 `json:"parent_id"`
	Criteria              []struct{ Operand int } `json:"criteria"`
	CreatedAt             time.Time               `json:"created_at"`
	UpdatedAt             time.Time               `json:"updated_at"`
}

// Server is the server under test, and who asks it.
type Server struct {
	base, token string
	client      *http.Client
}

func (s Server) get(path string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, s.base+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	return s.do(request)
}

func (s Server) do(request *http.Request) ([]byte, error) {
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return body, err
}

// all reads every page of a list, and every element by itself where it has a path.
func all[T any](s Server, path string, one func(T) string) error {
	bookmark, n := "", 0
	for {
		query := url.Values{"page_size": {"100"}}
		if bookmark != "" {
			query.Set("bookmark", bookmark)
		}
		body, err := s.get(path + "?" + query.Encode())
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		var page struct {
			Next string            `json:"next"`
			List []json.RawMessage `json:"list"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, text := range page.List {
			var element, alone T
			if err := json.Unmarshal(text, &element); err != nil {
				return fmt.Errorf("%s: %w in %s", path, err, text)
			}
			n++
			below := one(element)
			if below == "" {
				continue
			}
			body, err := s.get(below)
			if err == nil {
				err = json.Unmarshal(body, &alone)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", below, err)
			}
		}
		if bookmark = page.Next; bookmark == "" {
			fmt.Println(path, n)
			return nil
		}
	}
}

func lists(s Server) error {
	none := func(path string, id string) string { return path + url.PathEscape(id) }
	return errors.Join(
		all(s, "/api/kms/v1/keys", func(k Key) string { return none("/api/kms/v1/keys/", k.KeyID) }),
		all(s, "/api/ca/v1/cas", func(c CA) string { return none("/api/ca/v1/cas/", c.ID) }),
		all(s, "/api/ca/v1/certificates", func(c Certificate) string {
			return none("/api/ca/v1/certificates/", c.SerialNumber) + "?ca_id=" + url.QueryEscape(c.IssuerMetadata.ID)
		}),
		all(s, "/api/ca/v1/profiles", func(p Profile) string { return none("/api/ca/v1/profiles/", p.ID) }),
		all(s, "/api/devmanager/v1/devices", func(d Device) string { return none("/api/devmanager/v1/devices/", d.ID) }),
		all(s, "/api/devmanager/v1/device-groups", func(Group) string { return "" }),
		all(s, "/api/dmsmanager/v1/dms", func(d DMS) string { return none("/api/dmsmanager/v1/dms/", d.ID) }),
	)
}

// enroll gets a certificate by EST over mutual TLS, and shows it in the next handshake.
func enroll(s Server, pair tls.Certificate, issuer *x509.Certificate) error {
	device, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := x509.CertificateRequest{Subject: pkix.Name{CommonName: "go-device"}, DNSNames: []string{"go-device.example"}}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &template, device)
	if err != nil {
		return err
	}
	for _, operation := range []string{"simpleenroll", "simplereenroll"} {
		certificate, err := request(s, operation, csr, pair)
		if err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(issuer)
		options := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if _, err := certificate.Verify(options); err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
		if certificate.Subject.CommonName != "go-device" || certificate.DNSNames[0] != "go-device.example" {
			return fmt.Errorf("%s: a certificate for %s", operation, certificate.Subject)
		}
		fmt.Println(operation, certificate.SerialNumber)
		pair = tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: device}
	}
	return nil
}

func request(s Server, operation string, csr []byte, pair tls.Certificate) (*x509.Certificate, error) {
	anchors := s.client.Transport.(*http.Transport).TLSClientConfig.RootCAs
	config := &tls.Config{RootCAs: anchors, Certificates: []tls.Certificate{pair}}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: s.client.Timeout}
	defer client.CloseIdleConnections()
	body := base64.StdEncoding.EncodeToString(csr)
	asked, err := http.NewRequest(http.MethodPost, s.base+"/.well-known/est/line/"+operation, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	asked.Header.Set("Content-Type", "application/pkcs10")
	answer, err := Server{client: client}.do(asked)
	if err != nil {
		return nil, err
	}
	der, err := base64.StdEncoding.DecodeString(string(answer))
	if err != nil {
		return nil, err
	}
	return onlyCertificate(der)
}

// onlyCertificate reads SignedData without signers (RFC 5652, section 5.1).
func onlyCertificate(der []byte) (*x509.Certificate, error) {
	var content struct {
		Type asn1.ObjectIdentifier
		Data struct {
			Version      int
			Digests      asn1.RawValue
			Encapsulated asn1.RawValue
			Certificates asn1.RawValue `asn1:"tag:0"`
			CRLs         asn1.RawValue `asn1:"optional,tag:1"`
			Signers      asn1.RawValue
		} `asn1:"explicit,tag:0"`
	}
	rest, err := asn1.Unmarshal(der, &content)
	if err != nil || len(rest) != 0 {
		return nil, fmt.Errorf("no SignedData: %w, %d bytes behind it", err, len(rest))
	}
	return x509.ParseCertificate(content.Data.Certificates.Bytes)
}

// crls reads the CRL of every CA, and checks it where Go knows the algorithm.
func crls(s Server) error {
	return all(s, "/api/ca/v1/cas", func(ca CA) string {
		list, err := crl(s, ca.Certificate.SubjectKeyID)
		if err == nil && !strings.HasPrefix(string(ca.Certificate.KeyMetadata.Type), "ML-DSA") {
			err = list.CheckSignatureFrom(ca.Certificate.Certificate.Certificate)
		}
		if err != nil {
			fail(fmt.Errorf("CRL of %s: %w", ca.ID, err))
		}
		return ""
	})
}

// crl waits for the first one, which is made behind the CA.
func crl(s Server, key string) (*x509.RevocationList, error) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		body, err := s.get("/api/va/crl/" + key)
		if err == nil {
			return x509.ParseRevocationList(body)
		}
		if time.Now().After(end) {
			return nil, err
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	if len(os.Args) != 7 {
		fail(errors.New("see the top of main.go for the arguments"))
	}
	anchor, err := os.ReadFile(os.Args[2])
	anchors := x509.NewCertPool()
	if err != nil || !anchors.AppendCertsFromPEM(anchor) {
		fail(fmt.Errorf("no trust anchor: %w", err))
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: anchors}}
	server := Server{
		base:   os.Args[1],
		token:  os.Args[3],
		client: &http.Client{Transport: transport, Timeout: 30 * time.Second},
	}
	pair, err := tls.LoadX509KeyPair(os.Args[4], os.Args[5])
	if err != nil {
		fail(err)
	}
	text, err := os.ReadFile(os.Args[6])
	if err != nil {
		fail(err)
	}
	block, _ := pem.Decode(bytes.TrimSpace(text))
	issuer, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		fail(err)
	}
	if err := errors.Join(enroll(server, pair, issuer), lists(server), crls(server)); err != nil {
		fail(err)
	}
}
