//! What the server answers to what it must refuse, at the socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::support::api::Answer;
use crate::support::plant::{DeviceKey, client_certificate_auth, dms_settings};
use crate::support::socket::{Identity, connect, exchange, read_to_close};
use crate::support::wait::wait_for;
use crate::support::{Plant, Program};

fn identity(plant: &Plant, name: &str) -> Result<Identity> {
    let chain = vec![CertificateDer::from_pem_file(
        plant.directory.join(format!("{name}.pem")),
    )?];
    let key = PrivateKeyDer::from_pem_file(plant.directory.join(format!("{name}.key")))?;
    Ok((chain, key))
}

/// One EST request as bytes, with `headers` (each ended by CRLF) beside the usual ones.
fn est_request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

const ENROLL: &str = "/.well-known/est/line/simpleenroll";
const PKCS10: &str = "Content-Type: application/pkcs10\r\n";

fn parse(answer: &[u8]) -> Result<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .with_context(|| format!("no answer: {text:?}"))?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Answer {
        status,
        body: body.to_owned(),
    })
}

fn post(program: &Program, identity: Option<Identity>, request: &[u8]) -> Result<Answer> {
    parse(&exchange(
        &mut connect(program.https_port, identity)?,
        request,
    )?)
}

fn assert_refused(answer: &Answer, status: u16, err: &str) {
    assert_eq!(
        (answer.status, answer.json()["err"].as_str()),
        (status, Some(err)),
        "{}",
        answer.body
    );
}

fn csr_body(plant: &Plant, name: &str) -> Result<Vec<u8>> {
    let csr = plant.read(&format!("{name}.csr"))?;
    Ok(csr
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect::<String>()
        .into_bytes())
}

#[test]
fn client_certificates_are_judged() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    plant.key_and_csr("device", DeviceKey::P256)?;

    // None at all.
    let answer = plant.est("simpleenroll", "device", None, &[])?;
    assert_refused(&answer, 401, "DMS auth mode not supported");

    // One of a CA that nobody trusts.
    plant.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=stranger -keyout stranger.key -out stranger.pem -days 1")?;
    let answer = plant.est("simpleenroll", "device", Some("stranger"), &[])?;
    assert_refused(&answer, 403, "invalid certificate");

    // An expired one.
    plant.key_and_csr("short", DeviceKey::P256)?;
    let profile = json!({"profile": {"validity": {"type": "Duration", "duration": "1s"}, "honor_subject": true}});
    plant.sign("issuing", "short", &profile)?;
    wait_for("the certificate to expire", Duration::from_secs(10), || {
        plant
            .openssl("x509 -in short.pem -noout -checkend 0")
            .is_err()
            .then_some(())
    })?;
    let answer = plant.est("simpleenroll", "device", Some("short"), &[])?;
    assert_refused(&answer, 403, "invalid certificate");

    // A revoked one.
    plant.key_and_csr("thief", DeviceKey::P256)?;
    plant.sign("issuing", "thief", &json!({}))?;
    plant.revoke(&plant.serial("thief")?, "KeyCompromise")?;
    let answer = plant.est("simpleenroll", "device", Some("thief"), &[])?;
    assert_refused(&answer, 403, "certificate is revoked");

    // Nothing of this registered the device or issued anything for it.
    assert_eq!(
        plant
            .api
            .call("GET", "devmanager/v1/devices/device", None)?
            .status,
        400
    );
    Ok(())
}

#[test]
fn a_header_with_somebody_s_public_certificate_proves_nothing() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    plant.key_and_csr("device", DeviceKey::P256)?;
    let certificate: String =
        plant
            .read("bootstrap.pem")?
            .bytes()
            .fold(String::new(), |mut text, byte| {
                if byte.is_ascii_alphanumeric() {
                    text.push(char::from(byte));
                } else {
                    text.push_str(&format!("%{byte:02X}"));
                }
                text
            });
    for header in [
        format!("x-forwarded-client-cert: Hash=00;Chain=\"{certificate}\"\r\n"),
        format!("ssl-client-cert: {certificate}\r\n"),
        format!("X-Amzn-Mtls-Clientcert: {certificate}\r\n"),
    ] {
        let request = est_request(
            ENROLL,
            &format!("{PKCS10}{header}"),
            &csr_body(&plant, "device")?,
        );
        assert_refused(
            &post(&program, None, &request)?,
            401,
            "DMS auth mode not supported",
        );
    }
    Ok(())
}

#[test]
fn requests_that_cannot_be_read_say_why() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    plant.key_and_csr("device", DeviceKey::P256)?;
    let good = csr_body(&plant, "device")?;
    let mut bad_signature = STANDARD.decode(&good)?;
    if let Some(last) = bad_signature.last_mut() {
        *last ^= 1;
    }
    let cases: [(&str, &str, Vec<u8>, u16, &str); 5] = [
        (
            ENROLL,
            "Content-Type: text/plain\r\n",
            good.clone(),
            415,
            "content-type must be application/pkcs10",
        ),
        (
            ENROLL,
            PKCS10,
            b"**no base64**".to_vec(),
            400,
            "body payload must be base64 encoded",
        ),
        (
            ENROLL,
            PKCS10,
            STANDARD.encode(&bad_signature).into_bytes(),
            400,
            "invalid CSR signature",
        ),
        (
            "/.well-known/est/nobody/simpleenroll",
            PKCS10,
            good.clone(),
            404,
            "DMS not found",
        ),
        (
            "/.well-known/est/simpleenroll",
            PKCS10,
            good,
            400,
            "Key: 'aps.APS' Error:Field validation for 'APS' failed on the 'required' tag",
        ),
    ];
    for (path, headers, body, status, err) in cases {
        let answer = post(
            &program,
            Some(identity(&plant, "bootstrap")?),
            &est_request(path, headers, &body),
        )?;
        assert_refused(&answer, status, err);
    }
    let truncated = STANDARD.encode(&STANDARD.decode(csr_body(&plant, "device")?)?[..40]);
    let request = est_request(ENROLL, PKCS10, truncated.as_bytes());
    let answer = post(&program, Some(identity(&plant, "bootstrap")?), &request)?;
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .body
            .contains("could not parse the payload into a csr: "),
        "{}",
        answer.body
    );
    Ok(())
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_read() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    let head = format!(
        "POST {ENROLL} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{PKCS10}Content-Length: 1073741824\r\n\r\n"
    );
    let answer = post(
        &program,
        Some(identity(&plant, "bootstrap")?),
        head.as_bytes(),
    )?;
    assert_eq!(answer.status, 413, "{}", answer.body);
    Ok(())
}

#[test]
fn a_body_that_comes_too_slowly_ends_in_408_and_a_lost_client_harms_nobody() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    plant.key_and_csr("device", DeviceKey::P256)?;
    let body = csr_body(&plant, "device")?;
    let head = |length: usize| {
        format!(
            "POST {ENROLL} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{PKCS10}Content-Length: {length}\r\n\r\n"
        )
    };

    // Hangs up in the middle of the body: nothing is issued.
    let mut lost = connect(program.https_port, Some(identity(&plant, "bootstrap")?))?;
    lost.write_all(head(body.len()).as_bytes())?;
    lost.write_all(&body[..20])?;
    lost.flush()?;
    drop(lost);

    // Hangs up after the whole request: it is carried out all the same.
    plant.key_and_csr("impatient", DeviceKey::P256)?;
    let mut gone = connect(program.https_port, Some(identity(&plant, "bootstrap")?))?;
    gone.write_all(&est_request(
        ENROLL,
        PKCS10,
        &csr_body(&plant, "impatient")?,
    ))?;
    gone.flush()?;
    drop(gone);
    wait_for(
        "the enrollment whose client is gone",
        Duration::from_secs(10),
        || {
            let answer = plant
                .api
                .call("GET", "devmanager/v1/devices/impatient", None)
                .ok()?;
            (answer.json()["status"] == "ACTIVE").then_some(())
        },
    )?;

    // Sends nothing more.
    let mut slow = connect(program.https_port, Some(identity(&plant, "bootstrap")?))?;
    slow.write_all(head(body.len()).as_bytes())?;
    slow.flush()?;
    let begun = Instant::now();
    let answer = parse(&read_to_close(&mut slow))?;
    assert_eq!(answer.status, 408, "{}", answer.body);
    assert!(
        begun.elapsed() < Duration::from_secs(50),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        plant
            .api
            .call("GET", "devmanager/v1/devices/device", None)?
            .status,
        400
    );
    Ok(())
}

#[test]
fn a_certificate_without_its_key_opens_no_connection() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    plant.key_and_csr("thief", DeviceKey::P256)?;
    let (chain, _) = identity(&plant, "bootstrap")?;
    let key = PrivateKeyDer::from_pem_file(plant.directory.join("thief.key"))?;
    // rustls itself refuses the mismatch when it can tell; openssl then has to try.
    if let Ok(mut stream) = connect(program.https_port, Some((chain, key))) {
        let answer = exchange(
            &mut stream,
            &est_request(ENROLL, PKCS10, &csr_body(&plant, "thief")?),
        );
        assert!(answer.is_err() || answer.is_ok_and(|bytes| bytes.is_empty()));
    }
    Ok(())
}

/// POSTs to OCSP over plain HTTP and gives the body of the answer.
fn ocsp_post(program: &Program, body: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", program.http_port))?;
    write!(
        stream,
        "POST /api/va/ocsp HTTP/1.0\r\nContent-Type: application/ocsp-request\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let at = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("no answer")?;
    ensure!(
        answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"),
        "{:?}",
        &answer[..at]
    );
    Ok(answer.split_off(at + 4))
}

#[test]
fn ocsp_answers_what_it_cannot_answer() -> Result<()> {
    let program = Program::start()?;
    let plant = Plant::set_up(&program)?;
    // malformedRequest (1), as RFC 6960 4.2.1 encodes it.
    assert_eq!(ocsp_post(&program, b"no request")?, [0x30, 3, 0x0a, 1, 1]);
    // A serial number that this CA never issued.
    let text = plant.openssl(&format!("ocsp -url {}/ocsp -issuer issuing.pem -CAfile root.pem -verify_other issuing.pem -serial 0x1234", plant.va))?;
    assert!(text.contains("0x1234: unknown"), "{text}");
    // An issuer that is not here: unauthorized (6).
    plant.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=Foreign -keyout foreign.key -out foreign.pem -days 1")?;
    plant.openssl("ocsp -issuer foreign.pem -serial 1 -reqout foreign.req")?;
    let request = std::fs::read(plant.directory.join("foreign.req"))?;
    assert_eq!(ocsp_post(&program, &request)?, [0x30, 3, 0x0a, 1, 6]);
    Ok(())
}

#[test]
fn no_auth_and_preregistration_do_what_they_say() -> Result<()> {
    let program = Program::start()?;
    let mut plant = Plant::set_up(&program)?;
    plant.create_dms("open", &dms_settings(&json!({"auth_mode": "NO_AUTH"})))?;
    let mut registered = dms_settings(&client_certificate_auth());
    registered["enrollment_settings"]["registration_mode"] = json!("PRE_REGISTRATION");
    plant.create_dms("registered", &registered)?;
    plant.key_and_csr("anyone", DeviceKey::P256)?;
    plant.key_and_csr("known", DeviceKey::P256)?;

    plant.est = format!("{}/.well-known/est/open", program.https());
    assert_eq!(plant.est("simpleenroll", "anyone", None, &[])?.status, 200);
    // The other two prefixes lead to the same place; the device has its identity now.
    for prefix in ["/api/.well-known/est", "/api/dmsmanager/.well-known/est"] {
        plant.est = format!("{}{prefix}/open", program.https());
        assert_refused(
            &plant.est("simpleenroll", "anyone", None, &[])?,
            403,
            "forbiddenNewEnrollment",
        );
    }

    plant.est = format!("{}/.well-known/est/registered", program.https());
    assert_refused(
        &plant.est("simpleenroll", "known", Some("bootstrap"), &[])?,
        403,
        "device not preregistered",
    );
    let device =
        json!({"id": "known", "dms_id": "registered", "icon": "Cpu", "icon_color": "#000-#fff"});
    plant
        .api
        .ok("POST", "devmanager/v1/devices", Some(&device))?;
    assert_eq!(
        plant
            .est("simpleenroll", "known", Some("bootstrap"), &[])?
            .status,
        200
    );
    Ok(())
}
