//! EST at the socket: the requests of RFC 7030 appendix A as they stand there, and what clients in the field hold on
//! to in the answers: the spelling of headers, framing, line breaks.

use std::io::Write as _;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;

use crate::support::plant::{DeviceKey, dms_settings};
use crate::support::program::Options;
use crate::support::socket::{TlsStream, connect, exchange, read_to_close};
use crate::support::{Plant, Program, command};

/// A program whose default DMS, `open`, asks for nothing and makes keys; and `manual`, where somebody has to approve.
fn start() -> Result<(Program, Plant)> {
    start_with("")
}

/// The same with more in the configuration.
fn start_with(more: &str) -> Result<(Program, Plant)> {
    let config =
        format!("gateway: {{metrics: {{listen: null}}}}\nest: {{default_dms: open}}\n{more}");
    let program = Program::start_with(Options {
        config: Some(config),
        ..Options::default()
    })?;
    let plant = Plant::set_up(&program)?;
    let mut settings = dms_settings(&json!({"auth_mode": "NO_AUTH"}));
    settings["enrollment_settings"]["enable_replaceable_enrollment"] = json!(true);
    settings["server_keygen_settings"] =
        json!({"enabled": true, "key": {"type": "RSA", "bits": 2048}});
    settings["ca_distribution_settings"]["include_system_ca"] = json!(true);
    plant.create_dms("open", &settings)?;
    settings["enrollment_settings"]["channel_binding"] = json!("required");
    plant.create_dms("bound", &settings)?;
    settings["enrollment_settings"]["channel_binding"] = json!("off");
    settings["enrollment_settings"]["approval"] = json!("manual");
    plant.create_dms("manual", &settings)?;
    plant.key_and_csr("device", DeviceKey::P256)?;
    plant.openssl("req -in device.csr -outform DER -out device.der")?;
    Ok((program, plant))
}

/// An answer as it came.
#[derive(Debug)]
struct Raw {
    status: String,
    /// Spelled as they were.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Raw {
    /// Reads one answer that ends with the connection.
    fn read(octets: &[u8]) -> Result<Self> {
        let end = octets.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.with_context(|| format!("{:?}", String::from_utf8_lossy(octets)))?;
        let head = std::str::from_utf8(&octets[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines.next().context("a status line")?.to_owned();
        let headers = lines
            .map(|line| line.split_once(": ").context("a header"))
            .map(|header| header.map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect::<Result<_>>()?;
        Ok(Self {
            status,
            headers,
            body: octets[end + 4..].to_vec(),
        })
    }

    /// The header of exactly this spelling.
    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Holds the answer against what libest and GlobalSign's client need.
    fn check(&self, content_type: &str) -> Result<()> {
        let told = format!("{self:?}");
        ensure!(self.status.ends_with(" 200 OK"), "{told}");
        ensure!(self.header("Content-Type") == Some(content_type), "{told}");
        let length = self.body.len().to_string();
        ensure!(self.header("Content-Length") == Some(&length), "{told}");
        // Each part of a multipart has its own, and it has none.
        let encoding = (!content_type.starts_with("multipart/")).then_some("base64");
        ensure!(
            self.header("Content-Transfer-Encoding") == encoding,
            "{told}"
        );
        ensure!(self.header("Transfer-Encoding").is_none(), "{told}");
        ensure!(self.headers.len() <= 16, "{told}");
        Ok(())
    }

    /// The base64 in lines that every reader takes.
    fn lines(&self) -> Result<Vec<u8>> {
        let text = std::str::from_utf8(&self.body)?;
        ensure!(text.ends_with('\n') && !text.contains('\r'), "{text}");
        ensure!(text.lines().all(|line| line.len() <= 76), "{text}");
        Ok(STANDARD.decode(text.replace('\n', ""))?)
    }
}

const PKCS7: &str = "application/pkcs7-mime; smime-type=certs-only";

/// What appendix A's curl says of itself.
const CURL: &str = "User-Agent: curl/7.24.0 (i686-pc-linux-gnu) libcurl/7.24.0 OpenSSL/0.9.8b zlib/1.2.3\r\n\
     Host: 192.0.2.1:8085\r\nAccept: */*\r\n";

fn ask(program: &Program, request: &[u8]) -> Result<Raw> {
    Raw::read(&exchange(&mut connect(program.https_port, None)?, request)?)
}

fn get(path: &str, version: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} {version}\r\n{headers}\r\n").into_bytes()
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// base64 in lines of 64, ended by CRLF.
fn wrapped(der: &[u8]) -> Vec<u8> {
    let base64 = STANDARD.encode(der);
    let lines = base64.as_bytes().chunks(64);
    lines.flat_map(|line| [line, b"\r\n"].concat()).collect()
}

#[test]
fn cacerts_begin_with_the_certificate_that_the_configuration_names() -> Result<()> {
    let directory = TempDir::new()?;
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=downstream \
        -days 1 -keyout downstream.key -out downstream.pem";
    let request: Vec<_> = request.split_whitespace().collect();
    command::run(directory.path(), "openssl", &request)?;
    let named = directory.path().join("downstream.pem");
    let (program, _plant) = start_with(&format!("downstream_cert_file: {}\n", named.display()))?;
    let close = format!("{CURL}Connection: close\r\n");
    let request = get("/.well-known/est/cacerts", "HTTP/1.1", &close);
    let cacerts = lamassu_x509::pkcs7::certificates(ask(&program, &request)?.lines()?)?;
    let named = lamassu_x509::pem::pem_to_der(&std::fs::read(named)?)?;
    ensure!(cacerts.len() == 3 && *cacerts[0].as_der() == named);
    Ok(())
}

#[test]
fn the_requests_of_rfc_7030_appendix_a_are_answered() -> Result<()> {
    let (program, plant) = start()?;
    let close = format!("{CURL}Connection: close\r\n");
    // A.1
    let cacerts = ask(
        &program,
        &get("/.well-known/est/cacerts", "HTTP/1.1", &close),
    )?;
    cacerts.check(PKCS7)?;
    // The server's own anchor, then the enrollment CA and its root.
    let cacerts = lamassu_x509::pkcs7::certificates(cacerts.lines()?)?;
    ensure!(cacerts.len() == 3);
    let anchor = lamassu_x509::pem::pem_to_der(&std::fs::read(program.anchor())?)?;
    ensure!(*cacerts[0].as_der() == anchor);
    ensure!(cacerts[2].is_self_signed() && !cacerts[1].is_self_signed());
    // A.2
    let attributes = ask(
        &program,
        &get("/.well-known/est/csrattrs", "HTTP/1.1", &close),
    )?;
    attributes.check("application/csrattrs")?;
    ensure!(attributes.lines()?.first() == Some(&0x30));
    // A.3
    let der = std::fs::read(plant.directory.join("device.der"))?;
    let request_of = |path: &str, more: &str| {
        let headers = format!(
            "Authorization: Basic ZXN0dXNlcjplc3Rwd2Q=\r\n{close}Content-Type: application/pkcs10\r\n\
             Content-Transfer-Encoding: base64\r\n{more}"
        );
        post(path, &headers, &wrapped(&der))
    };
    let enrolled = ask(&program, &request_of("/.well-known/est/simpleenroll", ""))?;
    enrolled.check(PKCS7)?;
    ensure!(lamassu_x509::pkcs7::certificates(enrolled.lines()?)?.len() == 1);
    // A.4
    let made = ask(&program, &request_of("/.well-known/est/serverkeygen", ""))?;
    made.check("multipart/mixed; boundary=estServerLamassuBoundary")?;
    let text = String::from_utf8(made.body)?;
    let parts: Vec<&str> = text.split("--estServerLamassuBoundary\r\n").collect();
    ensure!(parts.len() == 3 && parts[0].is_empty(), "{text}");
    for (part, media_type) in parts[1..].iter().zip(["application/pkcs8", PKCS7]) {
        let head =
            format!("Content-Transfer-Encoding: base64\r\nContent-Type: {media_type}\r\n\r\n");
        ensure!(part.starts_with(&head), "{part}");
        // libest reads parts of so many characters.
        let n_base64 = part.len() - head.len();
        ensure!((128..=8192).contains(&n_base64), "{n_base64}");
    }
    ensure!(
        text.ends_with("\r\n--estServerLamassuBoundary--\r\n"),
        "{text}"
    );
    Ok(())
}

#[test]
fn bodies_come_in_every_form_and_under_every_path() -> Result<()> {
    let (program, plant) = start()?;
    let der = std::fs::read(plant.directory.join("device.der"))?;
    let pem = plant.read("device.csr")?;
    let base64 = STANDARD.encode(&der);
    let spaced: String = base64
        .chars()
        .flat_map(|c| [c, ' ', '\t', '\r', '\n'])
        .collect();
    let headers = "Host: localhost\r\nUser-Agent: t\r\nConnection: close\r\n\
         Content-Type: Application/PKCS10; x=y\r\n";
    for body in [
        der.as_slice(),
        pem.as_bytes(),
        pem.replace('\n', "").as_bytes(),
        base64.as_bytes(),
        spaced.as_bytes(),
        &wrapped(&der),
    ] {
        let request = post("/.well-known/est/open/simpleenroll", headers, body);
        ask(&program, &request)?.check(PKCS7)?;
    }
    for base in ["", "/api", "/api/dmsmanager"] {
        for label in ["", "/open"] {
            let path = format!("{base}/.well-known/est{label}/simpleenroll");
            ask(&program, &post(&path, headers, base64.as_bytes()))?
                .check(PKCS7)
                .with_context(|| path.clone())?;
        }
    }
    for (method, label) in [("POST", "/open"), ("GET", "/open"), ("POST", "")] {
        let path = format!("/.well-known/est{label}/fullcmc");
        let request = format!("{method} {path} HTTP/1.1\r\n{headers}Content-Length: 0\r\n\r\n");
        let refused = ask(&program, request.as_bytes())?;
        ensure!(refused.status.contains(" 404 "), "{refused:?}");
        ensure!(refused.body == b"404 page not found", "{refused:?}");
    }
    Ok(())
}

#[test]
fn http_1_0_and_clients_that_ask_first_are_answered() -> Result<()> {
    let (program, plant) = start()?;
    // Without a host, and the connection ends with the answer.
    let old = get("/.well-known/est/cacerts", "HTTP/1.0", "Accept: */*\r\n");
    let answer = ask(&program, &old)?;
    ensure!(answer.status == "HTTP/1.0 200 OK" || answer.status == "HTTP/1.1 200 OK");
    answer.check(PKCS7)?;
    let der = std::fs::read(plant.directory.join("device.der"))?;
    let headers = "Host: localhost\r\nAccept: */*\r\nConnection: close\r\nExpect: 100-continue\r\n\
         Content-Type: application/pkcs10\r\n";
    let request = post("/.well-known/est/open/simpleenroll", headers, &der);
    let (head, body) = request.split_at(request.len() - der.len());
    let mut stream = connect(program.https_port, None)?;
    stream.write_all(head)?;
    stream.flush()?;
    let mut go_on = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut go_on)?;
    ensure!(&go_on == b"HTTP/1.1 100 Continue\r\n\r\n", "{go_on:?}");
    stream.write_all(body)?;
    stream.flush()?;
    Raw::read(&read_to_close(&mut stream))?.check(PKCS7)?;
    // One line for who says nothing of itself.
    let silent = post(
        "/.well-known/est/open/simpleenroll",
        "Host: localhost\r\nContent-Type: application/pkcs10\r\n",
        &der,
    );
    let mut stream = connect(program.https_port, None)?;
    stream.write_all(&silent)?;
    stream.flush()?;
    let answer = read_one(&mut stream)?;
    ensure!(!answer.body.contains(&b'\n'), "{answer:?}");
    Ok(())
}

/// One answer of a connection that stays open.
fn read_one(stream: &mut TlsStream) -> Result<Raw> {
    let mut octets = Vec::new();
    let mut octet = [0];
    while !octets.ends_with(b"\r\n\r\n") {
        std::io::Read::read_exact(stream, &mut octet)?;
        octets.push(octet[0]);
    }
    let mut answer = Raw::read(&octets)?;
    let length = answer
        .header("Content-Length")
        .context("a length")?
        .parse()?;
    answer.body = vec![0; length];
    std::io::Read::read_exact(stream, &mut answer.body)?;
    Ok(answer)
}

#[test]
fn a_client_is_told_when_to_come_again() -> Result<()> {
    let (program, plant) = start()?;
    let der = std::fs::read(plant.directory.join("device.der"))?;
    let headers = "Host: localhost\r\nUser-Agent: t\r\nConnection: close\r\n\
         Content-Type: application/pkcs10\r\n";
    for operation in ["simpleenroll", "serverkeygen"] {
        let path = format!("/.well-known/est/manual/{operation}");
        let later = ask(&program, &post(&path, headers, &der))?;
        ensure!(later.status == "HTTP/1.1 202 Accepted", "{later:?}");
        ensure!(later.header("Retry-After") == Some("60"), "{later:?}");
        ensure!(later.header("Content-Length") == Some("0"), "{later:?}");
    }
    Ok(())
}

#[test]
fn a_request_is_bound_to_its_own_connection() -> Result<()> {
    let (program, plant) = start()?;
    let headers = "Host: localhost\r\nUser-Agent: t\r\nConnection: close\r\n\
         Content-Type: application/pkcs10\r\n";
    let bound_to = |stream: &mut TlsStream| -> Result<Vec<u8>> {
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let label = b"EXPORTER-Channel-Binding";
        let exporter = stream
            .conn
            .export_keying_material([0; 32], label, Some(b""))?;
        let config = format!(
            "[req]\ndistinguished_name=dn\nattributes=attributes\nprompt=no\n[dn]\nCN=device\n\
             [attributes]\nchallengePassword={}\n",
            STANDARD.encode(exporter)
        );
        plant.write("bound.cnf", &config)?;
        plant.openssl("req -new -config bound.cnf -key device.key -outform DER -out bound.der")?;
        let der = std::fs::read(plant.directory.join("bound.der"))?;
        Ok(post("/.well-known/est/bound/simpleenroll", headers, &der))
    };
    let mut stream = connect(program.https_port, None)?;
    let request = bound_to(&mut stream)?;
    Raw::read(&exchange(&mut stream, &request)?)?.check(PKCS7)?;
    // The same request over another connection.
    let replayed = ask(&program, &request)?;
    ensure!(replayed.status.contains(" 403 "), "{replayed:?}");
    let text = String::from_utf8(replayed.body)?;
    ensure!(text.contains("channel_binding_mismatch"), "{text}");
    Ok(())
}
