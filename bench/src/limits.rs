//! What this machine can do at all, measured in the same run.

use std::time::{Duration, Instant};

use anyhow::Result;
use lamassu_crypto::{Curve, HashAlgorithm, KeySpec, Message, PrivateKey, SignatureScheme};

/// P-256 signatures and verifications per second on one core.
pub(crate) fn measure() -> Result<String> {
    let key = PrivateKey::generate(KeySpec::Ec(Curve::P256))?;
    let scheme = SignatureScheme::Ecdsa(HashAlgorithm::Sha256);
    let signature = key.sign(scheme, Message::Raw(b"message"))?;
    let sign = per_second(|| key.sign(scheme, Message::Raw(b"message")).is_ok());
    let verify = per_second(|| {
        key.public_key()
            .verify(scheme, Message::Raw(b"message"), &signature)
            .is_ok()
    });
    Ok(format!(
        "{sign:.0} P-256 signatures/s, {verify:.0} verifications/s"
    ))
}

fn per_second(mut once: impl FnMut() -> bool) -> f64 {
    let begun = Instant::now();
    let mut done = 0u32;
    while begun.elapsed() < Duration::from_millis(500) {
        if once() {
            done += 1;
        }
    }
    f64::from(done) / begun.elapsed().as_secs_f64()
}
