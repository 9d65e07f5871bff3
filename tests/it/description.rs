//! The API description is true: of its examples, of what is sent, of what is answered.

mod devices;
mod groups;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_testing::PostgresServer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::description::{Description, Walk};
use crate::support::plant::{DeviceKey, client_certificate_auth, dms_settings};
use crate::support::program::{Options, lasting_port, storage_block};
use crate::support::{Plant, Program, command};

#[test]
fn every_example_is_what_its_schema_says() -> Result<()> {
    let description = Description::of(&Program::start()?)?;
    let (mut checked, mut wrong) = (0, Vec::new());
    for (method, path, operation) in description.operations() {
        let mut bodies = vec![operation["requestBody"].clone()];
        for status in operation["responses"]
            .as_object()
            .context("responses")?
            .keys()
        {
            bodies.push(description.response(operation, status.parse()?)?.clone());
        }
        for body in bodies {
            let Some(json) = body["content"].get("application/json") else {
                continue;
            };
            let has_example = json.get("example").is_some();
            if !has_example && json["schema"]["$ref"] != "#/components/schemas/Error" {
                wrong.push(format!("{method} {path}: no example of {}", json["schema"]));
            }
            if has_example && let Err(error) = description.check(&json["schema"], &json["example"])
            {
                wrong.push(format!("{method} {path}: {error}"));
            }
            checked += usize::from(has_example);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 100, "only {checked} examples");
    Ok(())
}

#[test]
fn the_description_and_its_page_are_for_everybody() -> Result<()> {
    let program = Program::start()?;
    let anchor = program.anchor().to_string_lossy().into_owned();
    let printed = command::run(
        &program.scratch(),
        &crate::support::program::executable().to_string_lossy(),
        &["openapi"],
    )?;
    let printed: Value = serde_json::from_str(&printed)?;
    let fetch = |path: &str| {
        let url = format!("{}{path}", program.https());
        let arguments = ["-sS", "-i", "--compressed", "--cacert", &anchor, &url];
        command::run(&program.scratch(), "curl", &arguments)
    };
    let answer = fetch("/openapi.json")?;
    let (_, body) = answer.split_once("\r\n\r\n").context("a head and a body")?;
    assert_eq!(serde_json::from_str::<Value>(body)?, printed);
    let page = fetch("/docs")?;
    assert!(
        page.starts_with("HTTP/2 200") || page.starts_with("HTTP/1.1 200"),
        "{page}"
    );
    assert!(
        page.to_lowercase()
            .contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    // Whatever the page names comes from here.
    for part in page
        .split(['"', '\''])
        .filter(|part| part.starts_with("/docs/"))
    {
        let answer = fetch(part)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("a head and a body")?;
        assert!(head.contains(" 200"), "{part}: {head}");
        assert!(!body.is_empty(), "{part}");
    }
    assert!(!page.contains("://"), "{page}");
    Ok(())
}

#[test]
fn a_process_of_one_service_describes_what_it_serves() -> Result<()> {
    let port = lasting_port()?;
    let storage = storage_block(&PostgresServer::shared().fresh_schema());
    let options = Options {
        arguments: vec!["--services".to_owned(), "kms".to_owned()],
        config: Some(format!("{storage}server: {{port: {port}}}\n")),
        ..Options::default()
    };
    let program = Program::start_on(options, None)?;
    let fetch = |path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        command::run(
            &program.scratch(),
            "curl",
            &["-sS", "--fail-with-body", &url],
        )
    };
    let document: Value = serde_json::from_str(&fetch("/openapi.json")?)?;
    let paths = document["paths"].as_object().context("paths")?;
    assert!(paths.contains_key("/v1/keys") && paths.contains_key("/api/kms/v1/keys"));
    assert!(!paths.contains_key("/api/ca/v1/cas"));
    assert!(fetch("/docs")?.contains("swagger-ui"));
    Ok(())
}

#[test]
fn real_requests_and_answers_are_as_described() -> Result<()> {
    let directory = TempDir::new()?;
    let engine = |id: &str| json!({"id": id, "type": "filesystem", "storage_directory": directory.path().join(id)});
    // Two of them, so that a key can move.
    let engines = json!({"crypto_engines":
        {"default_id": "first", "engines": [engine("first"), engine("second")]}});
    let options = Options {
        config: Some(engines.to_string()),
        ..Options::default()
    };
    let program = Program::start_in(directory, options)?;
    let description = Description::of(&program)?;
    let plant = Plant::set_up(&program)?;
    let mut walk = Walk::new(&description, &plant.api);
    keys(&mut walk, &plant)?;
    profiles(&mut walk)?;
    authorities(&mut walk, &plant)?;
    certificates(&mut walk, &plant)?;
    devices(&mut walk, &plant)?;
    validation(&mut walk, &plant)?;
    for service in ["kms", "ca", "devmanager", "dmsmanager", "va"] {
        walk.call("GET", &format!("{service}/health"), &[], None)?;
        walk.call("GET", &format!("{service}/v1/me"), &[], None)?;
    }
    walk.call("GET", ".well-known/jwks.json", &[], None)?;
    walk.call("GET", ".well-known/lamassu-auth", &[], None)?;
    walk.call("GET", "auth/v1/me", &[], None)?;
    assert_eq!(walk.left(), Vec::<String>::new());
    Ok(())
}

fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str> {
    value[member]
        .as_str()
        .with_context(|| format!("no {member} in {value}"))
}

fn metadata() -> Value {
    json!({"patches": [{"op": "add", "path": "/site", "value": {"line": [1, null]}}]})
}

fn keys(walk: &mut Walk<'_>, plant: &Plant) -> Result<()> {
    let wanted = json!({"algorithm": "ECDSA", "size": "256", "name": "one", "tags": ["a"],
        "metadata": {"free": 1}});
    let key = walk.call("POST", "kms/v1/keys", &[], Some(&wanted))?;
    let id = text(&key, "key_id")?;
    plant.key_and_csr("brought", DeviceKey::P384)?;
    let brought = STANDARD.encode(plant.read("brought.key")?);
    let imported = json!({"private_key": brought, "name": "brought", "engine_id": "first"});
    walk.call("POST", "kms/v1/keys/import", &[], Some(&imported))?;
    walk.call(
        "GET",
        "kms/v1/keys?page_size=1&sort_by=name&filter=name[ct]o",
        &[],
        None,
    )?;
    walk.call("GET", "kms/v1/stats", &[], None)?;
    walk.call("GET", "kms/v1/engines", &[], None)?;
    let key = "kms/v1/keys/{id}";
    walk.call(
        "PUT",
        &format!("{key}/name"),
        &[id],
        Some(&json!({"name": "two"})),
    )?;
    walk.call(
        "PUT",
        &format!("{key}/tags"),
        &[id],
        Some(&json!({"tags": ["b"]})),
    )?;
    for status in ["DISABLED", "ACTIVE"] {
        walk.call(
            "PUT",
            &format!("{key}/status"),
            &[id],
            Some(&json!({"status": status})),
        )?;
    }
    for method in ["PUT", "PATCH"] {
        walk.call(method, &format!("{key}/metadata"), &[id], Some(&metadata()))?;
        for member in ["alias", "aliases"] {
            let alias = format!("{method}-{member}");
            let patch = json!({"patches": [{"op": "add", "path": "/-", "value": alias}]});
            walk.call(method, &format!("{key}/{member}"), &[id], Some(&patch))?;
        }
    }
    let mut message = json!({"algorithm": "ECDSA_SHA_256", "message": "aGVsbG8=",
        "message_type": "raw"});
    let signed = walk.call("POST", &format!("{key}/sign"), &[id], Some(&message))?;
    message["signature"] = signed["signature"].clone();
    let verified = walk.call("POST", &format!("{key}/verify"), &[id], Some(&message))?;
    assert_eq!(verified["valid"], true);
    let moved = json!({"engine_id": "second"});
    walk.call("POST", &format!("{key}/move"), &[id], Some(&moved))?;
    // Its usage is shown by now.
    walk.call("GET", key, &[id], None)?;
    walk.call("DELETE", key, &[id], None)?;
    Ok(())
}

fn profiles(walk: &mut Walk<'_>) -> Result<()> {
    let profile = json!({"name": "All members", "description": "d", "sign_as_ca": false,
        "validity": {"type": "Duration", "duration": "30d"},
        "honor_subject": false, "subject": {"common_name": "imposed"}, "honor_key_usage": true,
        "extended_key_usages": ["ClientAuth", "ServerAuth"], "key_usage": ["DigitalSignature"],
        "crypto_enforcement": {"enabled": true, "allow_ecdsa_keys": true,
            "allowed_ecdsa_key_sizes": [256], "allow_rsa_keys": true,
            "allowed_rsa_key_sizes": null, "allow_ed25519_keys": true},
        "allowed_sans": [{"type": "DNS", "pattern": ".*\\.example\\.com"}],
        "common_name_pattern": "[a-z]+", "maximum_validity": "1y",
        "extended_key_usage_oids": ["1.3.6.1.5.5.7.3.17"], "back_dating": "1h"});
    let stored = walk.call("POST", "ca/v1/profiles", &[], Some(&profile))?;
    let id = text(&stored, "id")?;
    walk.call("GET", "ca/v1/profiles", &[], None)?;
    walk.call("GET", "ca/v1/profiles/{id}", &[id], None)?;
    let of_cas = json!({"name": "of CAs", "sign_as_ca": true, "path_length": 0,
        "validity": {"type": "Time", "time": "2040-01-01T00:00:00Z"},
        "name_constraints": {"permitted": {"dns": ["example.com"]}}});
    walk.call("PUT", "ca/v1/profiles/{id}", &[id], Some(&of_cas))?;
    walk.call("DELETE", "ca/v1/profiles/{id}", &[id], None)?;
    Ok(())
}

fn authorities(walk: &mut Walk<'_>, plant: &Plant) -> Result<()> {
    let root = walk.call("GET", "ca/v1/cas/{id}", &["root"], None)?;
    let profile = text(&root, "profile_id")?;
    let subject = json!({"common_name": "Short lived"});
    let wanted = json!({"id": "short", "parent_id": "root", "profile_id": profile,
        "subject": subject, "key_metadata": {"type": "ECDSA", "bits": 256},
        "ca_expiration": {"type": "Time", "time": "2030-01-01T00:00:00Z"}});
    walk.call("POST", "ca/v1/cas", &[], Some(&wanted))?;
    plant.openssl(
        "req -x509 -newkey rsa:2048 -nodes -keyout foreign.key -out foreign.pem -subj /CN=foreign",
    )?;
    let foreign = STANDARD.encode(plant.read("foreign.pem")?);
    let imported = json!({"id": "foreign", "ca": foreign, "profile_id": profile});
    walk.call("POST", "ca/v1/cas/import", &[], Some(&imported))?;
    walk.call(
        "GET",
        "ca/v1/cas?filter=level[ge]0&sort_by=subject.common_name",
        &[],
        None,
    )?;
    walk.call("GET", "ca/v1/cas/cn/{cn}", &["Short%20lived"], None)?;
    let ca = "ca/v1/cas/{id}";
    for method in ["PUT", "PATCH"] {
        walk.call(
            method,
            &format!("{ca}/metadata"),
            &["short"],
            Some(&metadata()),
        )?;
    }
    let chosen = json!({"profile_id": profile});
    walk.call("POST", &format!("{ca}/profile"), &["short"], Some(&chosen))?;
    let reissue = json!({"profile": {"validity": {"type": "Duration", "duration": "1y"},
        "sign_as_ca": true, "honor_subject": true, "key_usage": ["CertSign", "CRLSign"]}});
    walk.call("POST", &format!("{ca}/reissue"), &["short"], Some(&reissue))?;
    let mut message = json!({"message": "aGVsbG8=", "message_type": "raw",
        "signature_algorithm": "ECDSA_SHA_256"});
    let signed = walk.call(
        "POST",
        &format!("{ca}/signature/sign"),
        &["short"],
        Some(&message),
    )?;
    message["signature"] = signed["signed_data"].clone();
    walk.call(
        "POST",
        &format!("{ca}/signature/verify"),
        &["short"],
        Some(&message),
    )?;
    walk.call("GET", "ca/v1/stats?ca_filter=level[eq]0", &[], None)?;
    walk.call("GET", "ca/v1/stats/{id}", &["root"], None)?;
    walk.call("GET", &format!("{ca}/certificates"), &["root"], None)?;
    let by_status = format!("{ca}/certificates/status/{{status}}");
    walk.call("GET", &by_status, &["root", "ACTIVE"], None)?;
    plant.key_and_csr("orphan", DeviceKey::P256)?;
    let csr = STANDARD.encode(plant.read("orphan.csr")?);
    let sign = format!("{ca}/certificates/sign");
    let orphan = walk.call("POST", &sign, &["short"], Some(&json!({"csr": csr})))?;
    let serial = text(&orphan, "serial_number")?;
    walk.call(
        "GET",
        &format!("{ca}/certificates/{{sn}}"),
        &["short", serial],
        None,
    )?;
    let revoked = json!({"status": "REVOKED", "revocation_reason": "CessationOfOperation"});
    walk.call("POST", &format!("{ca}/status"), &["short"], Some(&revoked))?;
    walk.call("DELETE", ca, &["short"], None)?;
    walk.call("DELETE", "ca/v1/certificates/{sn}", &[serial], None)?;
    let request = json!({"id": "asked", "subject": {"common_name": "Asked"},
        "key_metadata": {"type": "RSA", "bits": 2048}});
    walk.call("POST", "ca/v1/cas/requests", &[], Some(&request))?;
    walk.call("GET", "ca/v1/cas/requests", &[], None)?;
    walk.call("GET", "ca/v1/cas/requests/{id}", &["asked"], None)?;
    walk.call("DELETE", "ca/v1/cas/requests/{id}", &["asked"], None)?;
    Ok(())
}

fn certificates(walk: &mut Walk<'_>, plant: &Plant) -> Result<()> {
    let wanted = json!({"ca_id": "issuing", "key_spec": {"type": "ECDSA", "bits": 256},
        "subject": {"common_name": "made"}, "metadata": {"a": 1}});
    let made = walk.call("POST", "ca/v1/certificates", &[], Some(&wanted))?;
    let serial = text(&made, "serial_number")?;
    plant.openssl(
        "req -x509 -newkey rsa:2048 -nodes -keyout else.key -out else.pem -subj /CN=else",
    )?;
    let foreign = json!({"certificate": STANDARD.encode(plant.read("else.pem")?)});
    walk.call("POST", "ca/v1/certificates/import", &[], Some(&foreign))?;
    walk.call("GET", "ca/v1/certificates?page_size=2", &[], None)?;
    walk.call(
        "GET",
        "ca/v1/certificates/status/{status}",
        &["ACTIVE"],
        None,
    )?;
    let expiring = "ca/v1/certificates/expiration?expires_before=2090-01-01T00:00:00Z";
    walk.call("GET", expiring, &[], None)?;
    let one = "ca/v1/certificates/{sn}";
    walk.call("GET", one, &[serial], None)?;
    for method in ["PUT", "PATCH"] {
        walk.call(
            method,
            &format!("{one}/metadata"),
            &[serial],
            Some(&metadata()),
        )?;
    }
    let held = json!({"status": "REVOKED", "revocation_reason": "CertificateHold"});
    walk.call("PUT", &format!("{one}/status"), &[serial], Some(&held))?;
    let several = json!({"ca_id": "issuing", "filter": "subject.common_name[eq]made",
        "revocation_reason": "Superseded"});
    let job = walk.call(
        "POST",
        "ca/v1/certificates/revocations",
        &[],
        Some(&several),
    )?;
    walk.call("GET", "ca/v1/jobs", &[], None)?;
    walk.call("GET", "ca/v1/jobs/{id}", &[text(&job, "id")?], None)?;
    Ok(())
}

fn devices(walk: &mut Walk<'_>, plant: &Plant) -> Result<()> {
    let dms = json!({"id": "walked", "name": "Walked", "metadata": {"a": 1},
        "settings": dms_settings(&client_certificate_auth())});
    walk.call("POST", "dmsmanager/v1/dms", &[], Some(&dms))?;
    walk.call("PUT", "dmsmanager/v1/dms/{id}", &["walked"], Some(&dms))?;
    walk.call("GET", "dmsmanager/v1/dms/{id}", &["walked"], None)?;
    walk.call("GET", "dmsmanager/v1/dms", &[], None)?;
    walk.call("GET", "dmsmanager/v1/stats", &[], None)?;
    let patch = json!({"patches": [{"op": "add", "path": "/b", "value": 2}]});
    for method in ["PUT", "PATCH"] {
        let path = "dmsmanager/v1/dms/{id}/metadata";
        walk.call(method, path, &["walked"], Some(&patch))?;
    }
    passwords(walk)?;
    walk.call("GET", "dmsmanager/v1/refused-enrollments", &[], None)?;
    let tried = json!({"operation": "enroll"});
    walk.call(
        "POST",
        "dmsmanager/v1/dms/{id}/dry-run",
        &["walked"],
        Some(&tried),
    )?;
    let gone = json!({"id": "gone", "name": "Gone"});
    walk.call("POST", "dmsmanager/v1/dms", &[], Some(&gone))?;
    walk.call("DELETE", "dmsmanager/v1/dms/{id}", &["gone"], None)?;
    approvals(walk, plant)?;
    let device = json!({"id": "by-hand", "dms_id": "walked", "tags": ["t"], "metadata": {"a": 1}});
    walk.call("POST", "devmanager/v1/devices", &[], Some(&device))?;
    plant.key_and_csr("by-hand", DeviceKey::P256)?;
    let certificate = plant.sign("issuing", "by-hand", &json!({}))?;
    let bind = json!({"device_id": "by-hand",
        "certificate_serial_number": certificate["serial_number"]});
    walk.call("POST", "dmsmanager/v1/dms/bind-identity", &[], Some(&bind))?;
    // With an identity and its history.
    walk.call("GET", "devmanager/v1/devices/{id}", &["by-hand"], None)?;
    walk.call("GET", "devmanager/v1/devices?sort_by=id", &[], None)?;
    walk.call(
        "GET",
        "devmanager/v1/devices/dms/{dms_id}",
        &["walked"],
        None,
    )?;
    walk.call("GET", "devmanager/v1/stats", &[], None)?;
    groups::groups(walk)?;
    devices::changes(walk)?;
    devices::second_version(walk, plant)?;
    Ok(())
}

/// Two enrollments that wait, each decided in its own way.
fn approvals(walk: &mut Walk<'_>, plant: &Plant) -> Result<()> {
    let mut settings = dms_settings(&json!({"auth_mode": "NO_AUTH"}));
    settings["enrollment_settings"]["approval"] = json!("manual");
    plant.create_dms("manual", &settings)?;
    let one = "dmsmanager/v1/approvals/{id}";
    for (device, verdict) in [("wanted", "approve"), ("unwanted", "deny")] {
        plant.key_and_csr(device, DeviceKey::P256)?;
        let answer = plant.est_under("manual", "simpleenroll", device, None, &[])?;
        anyhow::ensure!(answer.status == 202, "{} {}", answer.status, answer.body);
        let list = "dmsmanager/v1/approvals?filter=status[eq]PENDING";
        let waiting = walk.call("GET", list, &[], None)?;
        let id = text(&waiting["list"][0], "id")?;
        let body = json!({"reason": "walked"});
        walk.call("POST", &format!("{one}/{verdict}"), &[id], Some(&body))?;
        walk.call("GET", one, &[id], None)?;
    }
    Ok(())
}

fn validation(walk: &mut Walk<'_>, plant: &Plant) -> Result<()> {
    for list in ["va/v1/roles", "va/roles"] {
        walk.call("GET", list, &[], None)?;
        walk.call(
            "GET",
            &format!("{list}/{{ski}}"),
            &[&plant.issuing_ski],
            None,
        )?;
        let options = json!({"refresh_interval": "6d23h", "validity": "1w",
            "subject_key_id_signer": plant.issuing_ski, "regenerate_on_revoke": true});
        walk.call(
            "PUT",
            &format!("{list}/{{ski}}"),
            &[&plant.issuing_ski],
            Some(&options),
        )?;
    }
    Ok(())
}

/// Enrollment passwords of the DMS `walked`.
fn passwords(walk: &mut Walk<'_>) -> Result<()> {
    let path = "dmsmanager/v1/dms/{id}/passwords";
    let wanted = json!({"device_ids": ["d"], "expires_in": "1h"});
    let made = walk.call("POST", path, &["walked"], Some(&wanted))?;
    walk.call("GET", path, &["walked"], None)?;
    let id = made["list"][0]["id"].as_str().context("id")?;
    let path = "dmsmanager/v1/dms/{id}/passwords/{password_id}";
    walk.call("DELETE", path, &["walked", id], None)?;
    Ok(())
}
