//! Keys in tokens: a CA whose keys are in SoftHSM2, and a token that goes away under load.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_crypto::{Curve, KeySpec, PrivateKey};
use lamassu_testing::{SoftHsm, TokenServer};
use serde_json::{Value, json};

use crate::kill::{all_works_again, settled};
use crate::support::installation::Installation;
use crate::support::load::{Dice, Ending, Load, Worker, under_load};
use crate::support::plant::DeviceKey;
use crate::support::program::Options;
use crate::support::wait::wait_for;
use crate::support::{Api, Plant, Program};

/// The token that CAs have their keys in.
const TOKEN: &str = "plant";

/// An engine over a token.
fn engine(id: &str, module: &Path, token: &str, sessions: u16, env: (&str, &str)) -> Value {
    json!({
        "id": id, "type": "pkcs11", "module_path": module, "token": token, "pin": SoftHsm::PIN,
        "sessions": sessions, "module_extra_options": {"env": {env.0: env.1}},
    })
}

/// A program whose first engine is the default one.
fn start_with(engines: &[Value]) -> Result<Program> {
    let options = Options {
        config: Some(json!({ "crypto_engines": engines }).to_string()),
        ..Options::default()
    };
    Program::start_on(options, None)
}

fn sign(api: &Api, key: &Value) -> Result<Value> {
    let id = key["key_id"].as_str().context("a key has an id")?;
    let message = STANDARD.encode("to be signed");
    let mut body = json!({"algorithm": "ECDSA_SHA_256", "message": message, "message_type": "raw"});
    let path = format!("kms/v1/keys/{id}");
    let signed = api.ok("POST", &format!("{path}/sign"), Some(&body))?;
    body["signature"] = signed["signature"].clone();
    let verified = api.ok("POST", &format!("{path}/verify"), Some(&body))?;
    ensure!(verified == json!({"valid": true}), "{verified}");
    api.ok("GET", &path, None)
}

#[test]
fn a_plant_runs_on_keys_in_a_token() -> Result<()> {
    let hsm = SoftHsm::new()?;
    for token in [TOKEN, "second"] {
        hsm.add_token(token)?;
    }
    let (name, value) = hsm.environment();
    let env = (name, value.as_str());
    let module = SoftHsm::module();
    let directory = tempfile::TempDir::new()?;
    let mut program = start_with(&[
        engine("hsm", &module, TOKEN, 4, env),
        engine("second", &module, "second", 2, env),
        engine("absent", &module, "nowhere", 1, env),
        json!({"id": "files", "type": "filesystem", "storage_directory": directory.path()}),
    ])?;
    let plant = Plant::set_up(&program)?;
    plant.key_and_csr("device", DeviceKey::P256)?;
    plant.est_ok("simpleenroll", "device", "bootstrap", "device")?;
    assert_eq!(plant.ocsp("device")?, "good");
    plant.revoke(&plant.serial("device")?, "KeyCompromise")?;
    assert_eq!(plant.ocsp("device")?, "revoked");
    // The two CAs are there, and nothing of them anywhere else.
    assert_eq!(hsm.private_keys(TOKEN)?.len(), 2);
    assert_eq!(std::fs::read_dir(directory.path())?.count(), 0);

    engines_are_described(&plant.api)?;
    a_key_moves_through_the_engines(&plant.api, &hsm)?;

    // The next process finds all of it.
    program.kill_and_restart()?;
    let api = Api::of(&program)?;
    let keys = api.ok("GET", "kms/v1/keys?page_size=100", None)?;
    for key in keys["list"].as_array().context("a list")? {
        sign(&api, key)?;
    }
    // One that starts while a token is away does without it, and says what it lacks.
    hsm.take_away("second")?;
    program.kill_and_restart()?;
    let api = Api::of(&program)?;
    for key in keys["list"].as_array().context("a list")? {
        let refused = sign(&api, key).err().map(|error| error.to_string());
        let is_away = key["engine_id"] == "second";
        assert_eq!(refused.is_some(), is_away, "{key}: {refused:?}");
        let names_it = "503 {\"err\":\"crypto engine second did not open\"}";
        assert!(refused.is_none_or(|refused| refused.contains(names_it)));
    }
    Ok(())
}

fn engines_are_described(api: &Api) -> Result<()> {
    let engines = api.ok("GET", "kms/v1/engines", None)?;
    let engines = engines.as_array().context("a list")?;
    let described: Vec<_> = engines
        .iter()
        .map(|engine| {
            (
                engine["id"].as_str().unwrap_or_default(),
                engine["type"].as_str().unwrap_or_default(),
                engine["health"]["status"].as_str().unwrap_or_default(),
                engine["default"] == true,
            )
        })
        .collect();
    assert_eq!(
        described,
        [
            ("hsm", "PKCS11", "ok", true),
            ("second", "PKCS11", "ok", false),
            ("files", "GOLANG", "ok", false),
            ("absent", "PKCS11", "unopened", false),
        ]
    );
    let elsewhere = json!({"algorithm": "ECDSA", "size": 256, "name": "x", "engine_id": "absent"});
    let refused = api.call("POST", "kms/v1/keys", Some(&elsewhere))?;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(
        refused.json(),
        json!({"err": "crypto engine absent did not open"})
    );
    Ok(())
}

/// From a file into one token; out of that it goes nowhere.
fn a_key_moves_through_the_engines(api: &Api, hsm: &SoftHsm) -> Result<()> {
    let body = json!({"algorithm": "ECDSA", "size": 256, "name": "mover", "engine_id": "files"});
    let key = api.ok("POST", "kms/v1/keys", Some(&body))?;
    sign(api, &key)?;
    let path = format!("kms/v1/keys/{}", key["key_id"].as_str().unwrap_or_default());
    let into = |engine: &str| {
        let body = json!({ "engine_id": engine });
        api.call("POST", &format!("{path}/move"), Some(&body))
    };
    let moved = into("second")?;
    assert_eq!(moved.status, 200, "{}", moved.body);
    assert_eq!(moved.json()["engine_id"], "second");
    assert_eq!(hsm.private_keys("second")?.len(), 1);
    assert_eq!(sign(api, &key)?["engine_id"], "second");
    let back = into("files")?;
    assert_eq!(back.status, 409, "{}", back.body);
    Ok(())
}

#[test]
fn a_token_whose_server_dies_under_load_is_back_without_a_restart() -> Result<()> {
    let hsm = Arc::new(SoftHsm::new()?);
    hsm.add_token(TOKEN)?;
    let mut server = TokenServer::start(&hsm, TOKEN)?;
    let (name, value) = hsm.server_environment();
    let module = TokenServer::module()?;
    // The client of p11-kit 0.24 hangs when several of its sessions are used at once.
    let program = start_with(&[engine("hsm", &module, TOKEN, 1, (name, &value))])?;
    let plant = Plant::set_up(&program)?;
    let pid = program.pid();
    let mut installation = Installation::with_token(program, Arc::clone(&hsm), TOKEN);
    let client = installation.client()?;
    let load = Load::new(&client)?;
    let mut dice = Dice::new(1);
    for round in 1..=3 {
        let mut workers: Vec<Worker> = (0..4)
            .map(|worker| load.worker(&format!("{round}-{worker}"), dice.below(u64::MAX)))
            .collect();
        let endings = under_load(&client, &mut workers, || {
            std::thread::sleep(Duration::from_millis(300 + dice.below(700)));
            server.kill()?;
            let busy = load.ledger().busy;
            wait_for("answers 503", Duration::from_secs(30), || {
                (load.ledger().busy > busy + 20).then_some(())
            })?;
            let later = plant.ocsp("bootstrap").err().map(|error| error.to_string());
            let later = later.context("OCSP was answered without the key")?;
            ensure!(later.contains("trylater"), "{later}");
            server.resume()
        });
        let endings = endings.with_context(|| installation.program.log())?;
        // Whoever asked was answered.
        assert!(!endings.contains(&Ending::CutOff), "round {round}");
        let mut worker = load.worker(&format!("{round}-again"), dice.below(u64::MAX));
        all_works_again(&installation, &mut worker)?;
        assert_eq!(plant.ocsp("bootstrap")?, "good");
    }
    assert_eq!(installation.program.pid(), pid);
    let ready = Api::of(&installation.program)?.ok("GET", "kms/v1/engines", None)?;
    assert_eq!(ready[0]["health"]["status"], "ok");
    // What the outage left half done is settled by the next start, at the latest.
    installation.kill_and_restart()?;
    settled(&installation, &load.ledger())?;
    let ledger = load.ledger();
    println!(
        "{} changes acknowledged and whole, {} refused with 503",
        ledger.acknowledged(),
        ledger.busy
    );
    Ok(())
}

/// Which kind of key is made: one that takes long, or one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Making {
    Slow,
    Quick,
}

/// Makes a key or imports one. Gives its id, or nothing if it was put off.
fn bring_key(api: &Api, making: Option<Making>) -> Result<Option<String>> {
    let (path, body) = match making {
        Some(Making::Slow) => ("kms/v1/keys", json!({"algorithm": "RSA", "size": 2048})),
        Some(Making::Quick) => ("kms/v1/keys", json!({"algorithm": "ECDSA", "size": 256})),
        None => {
            let key = PrivateKey::generate(KeySpec::Ec(Curve::P256))?.to_pkcs8_der()?;
            let key = STANDARD.encode(&*key);
            ("kms/v1/keys/import", json!({ "private_key": key }))
        }
    };
    let answer = api.call("POST", path, Some(&body))?;
    match answer.status {
        201 => Ok(answer.json()["key_id"].as_str().map(str::to_owned)),
        503 => Ok(None),
        other => bail!("{path}: {other} {}", answer.body),
    }
}

/// Makes and imports keys with several clients while `disturbed`; gives the ids, and how many were put
/// off.
fn keys_while(
    api: &Api,
    making: Making,
    disturbed: impl FnOnce() -> Result<()>,
) -> Result<(BTreeSet<String>, usize)> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = |making| {
            let is_over = &is_over;
            scope.spawn(move || -> Result<Vec<Option<String>>> {
                let mut all = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    all.push(bring_key(api, making)?);
                }
                Ok(all)
            })
        };
        let clients = [Some(making), Some(making), None, None].map(client);
        let outcome = disturbed();
        is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().expect("no panic")?);
        }
        outcome?;
        let n_all = all.len();
        let made: BTreeSet<String> = all.into_iter().flatten().collect();
        let n_put_off = n_all - made.len();
        Ok((made, n_put_off))
    })
}

#[test]
fn a_token_server_that_dies_leaves_no_half_made_key() -> Result<()> {
    let hsm = Arc::new(SoftHsm::new()?);
    hsm.add_token(TOKEN)?;
    let mut server = TokenServer::start(&hsm, TOKEN)?;
    let (name, value) = hsm.server_environment();
    let module = TokenServer::module()?;
    let program = start_with(&[engine("hsm", &module, TOKEN, 1, (name, &value))])?;
    let api = Api::of(&program)?;
    let mut dice = Dice::new(2);
    let (mut made, mut n_put_off) = (BTreeSet::new(), 0);
    for round in 0..6 {
        let making = [Making::Slow, Making::Quick][round % 2];
        let (ids, n) = keys_while(&api, making, || {
            std::thread::sleep(Duration::from_millis(300 + dice.below(500)));
            server.kill()?;
            std::thread::sleep(Duration::from_millis(300));
            server.resume()?;
            wait_for("a key again", Duration::from_secs(30), || {
                bring_key(&api, None).ok().flatten()
            })
            .map(drop)
        })?;
        made.extend(ids);
        n_put_off += n;
    }
    assert!(n_put_off > 0, "the server was never missed");
    // What the outage left half done is settled by the next start, at the latest.
    let mut installation = Installation::with_token(program, Arc::clone(&hsm), TOKEN);
    installation.kill_and_restart()?;
    let mut seen = String::new();
    let whole = wait_for("whole keys", Duration::from_secs(60), || {
        let rows = installation
            .rows("SELECT handle, state, key_id FROM kms_key")
            .ok()?;
        let is_ready = rows.iter().all(|row| row[1] == "ready");
        let of_column = |column: usize| rows.iter().map(|row| row[column].clone()).collect();
        let (handles, ids): (BTreeSet<String>, BTreeSet<String>) = (of_column(0), of_column(2));
        let halves = [hsm.private_keys(TOKEN), hsm.public_keys(TOKEN)];
        let is_whole = halves.iter().flatten().filter(|held| **held == handles);
        let is_whole = is_whole.count() == halves.len();
        seen = format!("{rows:?}\nin the token: {halves:?}");
        (is_ready && is_whole).then_some(ids)
    });
    let whole = whole.with_context(|| format!("{seen}\n{}", installation.program.log()))?;
    assert!(made.is_subset(&whole), "an acknowledged key is gone");
    let api = Api::of(&installation.program)?;
    let keys = api.ok("GET", "kms/v1/keys?filter=algorithm[eq]ECDSA", None)?;
    for key in keys["list"].as_array().context("a list")? {
        sign(&api, key)?;
    }
    println!("{} keys, {n_put_off} put off", whole.len());
    Ok(())
}
