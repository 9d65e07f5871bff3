//! Revoking many at once: from the request to the end of its job.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::plant::Plant;
use crate::rows::{self, Names};

/// Certificates that are revoked together.
const MANY: u64 = 20_000;

/// Longest time that the job may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Issues certificates, has all of them revoked by one request, and prints how fast that went.
pub(crate) async fn measure(plant: &Plant, names: &Names) -> Result<()> {
    let plant = plant.with_ca("bulk").await?;
    let issued = rows::issue(&plant, names, MANY).await?.len();
    let body = json!({"ca_id": "bulk", "revocation_reason": "Superseded"});
    let mut api = plant.api();
    let begun = Instant::now();
    let job = api.revoke_many(&body).await?;
    let answered = begun.elapsed();
    let id = job.get("id").and_then(Value::as_str).context("no id")?;
    let path = format!("/api/ca/v1/jobs/{id}");
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let job = loop {
        tick.tick().await;
        let job = api.get(&path).await?;
        if job.get("status").is_none_or(|status| status != "RUNNING") {
            break job;
        }
        ensure!(begun.elapsed() < PATIENCE, "the job does not end: {job}");
    };
    let elapsed = begun.elapsed();
    let number = |name: &str| job.get(name).and_then(Value::as_u64).context("no number");
    let (done, failed) = (number("done")?, number("failed")?);
    ensure!(
        done == u64::try_from(issued)? && failed == 0,
        "{issued} were issued, and the job says {job}"
    );
    println!(
        "revoke-bulk: {done} certificates in {:.2} s, {:.0}/s; answered after {:.2} s",
        elapsed.as_secs_f64(),
        f64::from(u32::try_from(done)?) / elapsed.as_secs_f64(),
        answered.as_secs_f64(),
    );
    Ok(())
}
