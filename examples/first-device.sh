#!/bin/sh
# The first device, end to end, with nothing but curl and openssl.
#
# It makes a root CA, an issuing CA, a profile and a DMS, enrolls a device over EST with mutual
# TLS, renews its certificate, revokes it, and asks OCSP and the CRL what they know.
#
#   examples/first-device.sh
#
# talks to the server that `make run` started on this machine. For another one:
#   LAMASSU_HTTPS   its HTTPS address, https://localhost:8443
#   LAMASSU_HTTP    its plain HTTP address, http://localhost:8080
#   LAMASSU_CA      the trust anchor of its TLS certificate, ~/.local/share/lamassu/tls/ca.pem
#   LAMASSU_TOKEN   a bearer token, as `lamassu token` prints it
set -eu

https=${LAMASSU_HTTPS:-https://localhost:8443}
http=${LAMASSU_HTTP:-http://localhost:8080}
anchor=${LAMASSU_CA:-$HOME/.local/share/lamassu/tls/ca.pem}
[ -r "$anchor" ] || { echo "$anchor is not there: is the server running? (make run)" >&2; exit 1; }
PATH=$PATH:$(cd "$(dirname "$0")/.." && pwd)/target/release
token=${LAMASSU_TOKEN:-$(lamassu token)} || {
  echo "no token: give one in LAMASSU_TOKEN, or name the server's data directory in LAMASSU_DATA_DIR" >&2
  exit 1
}
anchor=$(cd "$(dirname "$anchor")" && pwd)/$(basename "$anchor")

run=$(date +%s)-$$              # ids of this run, so that it can be repeated
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

step() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# The management API: METHOD PATH [JSON]. A refusal prints the answer and ends the script.
api() {
  method=$1 path=$2 body=${3:-}
  if ! curl -sS --fail-with-body --cacert "$anchor" -X "$method" -H "Authorization: Bearer $token" \
      -H 'Content-Type: application/json' ${body:+-d "$body"} "$https/api/$path" -o answer.json; then
    fail "$method $path: $(cat answer.json)"
  fi
  cat answer.json
}
# The first text member NAME of the JSON on standard input.
member() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }
# The certificate of a CA or certificate answer, as PEM: the API carries base64 of PEM.
pem() { member certificate | openssl base64 -d -A; }
# A certification request as the API carries it, and as EST carries it.
api_csr() { openssl base64 -A -in "$1"; }
est_csr() { grep -v -- '-----' "$1"; }

step "a profile for the certificates of CAs, one for those of devices"
ca_profile=$(api POST ca/v1/profiles '{"name":"CAs","validity":{"type":"Duration","duration":"10y"},
  "sign_as_ca":true,"honor_subject":true,"key_usage":["CertSign","CRLSign"]}' | member id)
profile=$(api POST ca/v1/profiles '{"name":"Line","validity":{"type":"Duration","duration":"90d"},
  "honor_subject":true,"honor_extensions":true,"key_usage":["DigitalSignature"],
  "extended_key_usages":["ClientAuth"]}' | member id)
echo "profile of devices: $profile"

step "a root CA and an issuing CA below it"
api POST ca/v1/cas "{\"id\":\"root-$run\",\"subject\":{\"common_name\":\"Root $run\",\"organization\":\"Plant\"},
  \"key_metadata\":{\"type\":\"ECDSA\",\"bits\":384},\"profile_id\":\"$profile\",
  \"ca_issuance_profile_id\":\"$ca_profile\",
  \"ca_expiration\":{\"type\":\"Duration\",\"duration\":\"10y\"}}" | pem > root.pem
api POST ca/v1/cas "{\"id\":\"issuing-$run\",\"parent_id\":\"root-$run\",
  \"subject\":{\"common_name\":\"Issuing $run\",\"organization\":\"Plant\"},
  \"key_metadata\":{\"type\":\"ECDSA\",\"bits\":256},\"profile_id\":\"$profile\",
  \"ca_issuance_profile_id\":\"$ca_profile\",
  \"ca_expiration\":{\"type\":\"Duration\",\"duration\":\"5y\"}}" > issuing.json
pem < issuing.json > issuing.pem
ski=$(member subject_key_id < issuing.json)
openssl verify -CAfile root.pem issuing.pem

step "a DMS: devices with a certificate of the issuing CA may enroll, and need not be known before"
est_auth="{\"auth_mode\":\"CLIENT_CERTIFICATE\",\"client_certificate_settings\":
  {\"validation_cas\":[\"issuing-$run\"],\"chain_level_validation\":-1}}"
api POST dmsmanager/v1/dms "{\"id\":\"line-$run\",\"name\":\"Production line\",\"settings\":{
  \"enrollment_settings\":{\"protocol\":\"EST_RFC7030\",\"registration_mode\":\"JITP\",
    \"enrollment_ca\":\"issuing-$run\",\"verify_csr_signature\":true,
    \"est_rfc7030_settings\":$est_auth,
    \"device_provisioning_profile\":{\"icon\":\"Cpu\",\"icon_color\":\"#0f67ff-#f0f8ff\",\"tags\":[\"line\"]}},
  \"reenrollment_settings\":{\"est_rfc7030_settings\":$est_auth,\"reenrollment_delta\":\"90d\",
    \"preventive_delta\":\"30d\",\"critical_delta\":\"7d\",\"revoke_on_reenrollment\":true},
  \"ca_distribution_settings\":{\"include_enrollment_ca\":true}}}" > /dev/null
est=$https/.well-known/est/line-$run
echo "$est"

step "a bootstrap certificate for the production line"
openssl ecparam -name prime256v1 -genkey -noout -out bootstrap.key
openssl req -new -key bootstrap.key -subj "/O=Plant/CN=bootstrap-$run" -out bootstrap.csr
api POST "ca/v1/cas/issuing-$run/certificates/sign" "{\"csr\":\"$(api_csr bootstrap.csr)\"}" | pem > bootstrap.pem

step "cacerts: what the device trusts"
curl -sS --fail-with-body --cacert "$anchor" "$est/cacerts" |
  openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out cacerts.pem
grep subject cacerts.pem

step "simpleenroll: the device makes a key and gets its certificate"
openssl ecparam -name prime256v1 -genkey -noout -out device.key
openssl req -new -key device.key -subj "/CN=device-$run" -out device.csr
est_csr device.csr | curl -sS --fail-with-body --cacert "$anchor" --cert bootstrap.pem --key bootstrap.key \
  -H 'Content-Type: application/pkcs10' --data-binary @- "$est/simpleenroll" |
  openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out device-1.pem
openssl x509 -in device-1.pem -noout -subject -issuer -enddate
openssl verify -CAfile root.pem -untrusted cacerts.pem device-1.pem
api GET "devmanager/v1/devices/device-$run" | grep -q '"status":"ACTIVE"' || fail "the device is not ACTIVE"

step "simplereenroll: it renews with the certificate that it has"
est_csr device.csr | curl -sS --fail-with-body --cacert "$anchor" --cert device-1.pem --key device.key \
  -H 'Content-Type: application/pkcs10' --data-binary @- "$est/simplereenroll" |
  openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out device-2.pem
openssl verify -CAfile root.pem -untrusted cacerts.pem device-2.pem
cmp -s device-1.pem device-2.pem && fail "the renewed certificate is the old one"
serial=$(openssl x509 -in device-2.pem -noout -serial | cut -d = -f 2)

# What OCSP says of a certificate: good, revoked or unknown.
ocsp() {
  openssl ocsp -url "$http/api/va/ocsp" -issuer issuing.pem -CAfile root.pem -verify_other issuing.pem \
    -cert "$1" > ocsp.txt 2> ocsp.err || { cat ocsp.txt ocsp.err >&2; fail "openssl ocsp"; }
  grep -q 'Response verify OK' ocsp.err || { cat ocsp.err >&2; fail "the OCSP answer does not verify"; }
  sed -n "s|^$1: ||p" ocsp.txt
}

step "OCSP: the superseded certificate is revoked, the new one good"
echo "device-1: $(ocsp device-1.pem)   device-2: $(ocsp device-2.pem)"
[ "$(ocsp device-1.pem)" = revoked ] || fail "the superseded certificate is not revoked"
[ "$(ocsp device-2.pem)" = good ] || fail "the renewed certificate is not good"

step "revocation: OCSP says so at once"
api PUT "ca/v1/certificates/$serial/status" '{"status":"REVOKED","revocation_reason":"KeyCompromise"}' > /dev/null
answer=$(ocsp device-2.pem)
echo "device-2: $answer"
[ "$answer" = revoked ] || fail "OCSP does not know of the revocation"

step "CRL: the serial number is on it"
found=no
for _ in 1 2 3 4 5 6 7 8 9 10; do
  curl -sS --fail-with-body "$http/api/va/crl/$ski" -o issuing.crl
  openssl crl -inform DER -in issuing.crl -CAfile issuing.pem -noout 2> verify.txt || fail "the CRL does not verify"
  if openssl crl -inform DER -in issuing.crl -noout -text | grep -q "Serial Number: $serial"; then found=yes; break; fi
  sleep 0.5
done
openssl crl -inform DER -in issuing.crl -noout -issuer -lastupdate -nextupdate -crlnumber
[ $found = yes ] || fail "the CRL does not hold $serial"
echo "revoked: $serial"

step "done: enrolled, renewed, revoked, and everybody knows"
