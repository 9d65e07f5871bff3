//! What the engine adds to the time of a signature: P-256 in a token of SoftHSM2, by calls straight
//! into the module and by the engine, in turns, with as many threads as the engine has sessions.
//!
//!     cargo bench -p lamassu-crypto-pkcs11

#![expect(
    clippy::print_stdout,
    reason = "a command-line tool that prints a table and starts itself"
)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use lamassu_core::crypto_engine::{CryptoEngine as _, KeyHandle};
use lamassu_crypto::{Curve, KeySpec, Message};
use lamassu_crypto_pkcs11::{Modules, Pkcs11Config, Pkcs11Engine};
use lamassu_testing::SoftHsm;
use serde_json::json;

/// Says to the process that it has a token.
const WITH_TOKEN: &str = "--with-token";

/// How long each measures before it is the other's turn, and how often.
const TURN: Duration = Duration::from_millis(500);
const TURNS: u32 = 6;

const DIGEST: [u8; 32] = [7; 32];

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == WITH_TOKEN) {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        return { runtime }.enable_all().build()?.block_on(measure());
    }
    let hsm = SoftHsm::new()?;
    hsm.add_token("bench")?;
    let (name, value) = hsm.environment();
    let run = Command::new(std::env::current_exe()?)
        .arg(WITH_TOKEN)
        .env(name, value)
        .status()?;
    ensure!(run.success(), "{run}");
    Ok(())
}

async fn measure() -> Result<()> {
    let modules = Modules::default();
    // A module that nobody uses is finalized.
    let mut engines = Vec::new();
    println!("sessions  clients  module/s  engine/s  share");
    for (sessions, clients) in [(1, 1), (1, 8), (4, 1), (4, 8), (4, 32), (8, 8), (8, 32)] {
        let config = json!({
            "id": "hsm", "module_path": SoftHsm::module(), "token": "bench", "pin": SoftHsm::PIN,
            "sessions": sessions,
        });
        let config: Pkcs11Config = serde_json::from_value(config)?;
        let engine = Pkcs11Engine::connect(config, &modules, &|_| None)?;
        let engine = Arc::new(engine);
        let handle = KeyHandle::try_new(&format!("bench-{sessions}-{clients}"))?;
        engine.generate(&handle, KeySpec::Ec(Curve::P256)).await?;
        let threads = sessions.min(clients);
        let (mut module, mut ours) = (0, 0);
        for _ in 0..TURNS {
            module += tokio::task::block_in_place(|| straight(threads, &handle))?;
            ours += through(&engine, clients, &handle).await?;
        }
        let seconds = (TURN * TURNS).as_secs();
        println!(
            "{sessions:>8} {clients:>8} {:>9} {:>9} {:>5}%",
            module / seconds,
            ours / seconds,
            ours * 100 / module.max(1)
        );
        engines.push(engine);
    }
    Ok(())
}

/// Signatures in one turn by calls into the module, each thread in a session of its own.
fn straight(threads: u64, handle: &KeyHandle) -> Result<u64> {
    let library = Pkcs11::new(SoftHsm::module())?;
    let slots = library.get_slots_with_initialized_token()?;
    let slot = *slots.first().context("no token")?;
    let made = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let session = library.open_rw_session(slot)?;
                    let wanted = [
                        Attribute::Class(ObjectClass::PRIVATE_KEY),
                        Attribute::Label(handle.as_str().into()),
                    ];
                    let key = session.find_objects(&wanted)?;
                    let key = *key.first().context("no key")?;
                    while begun.elapsed() < TURN {
                        session.sign(&Mechanism::Ecdsa, key, &DIGEST)?;
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        all.into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("panic"))?)
    })?;
    Ok(made.into_inner())
}

/// Signatures in one turn by the engine, one task per client.
async fn through(engine: &Arc<Pkcs11Engine>, clients: u64, handle: &KeyHandle) -> Result<u64> {
    let made = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let (made, engine, handle) = (Arc::clone(&made), Arc::clone(engine), handle.clone());
        tasks.push(tokio::spawn(async move {
            let signer = engine.signer(&handle).await?;
            let scheme = signer.public_key().default_scheme();
            while begun.elapsed() < TURN {
                signer.sign(scheme, Message::Digest(&DIGEST)).await?;
                made.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(made.load(Ordering::Relaxed))
}
