//! Keys whose files are gone.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::log::Log;
use crate::support::{FILESYSTEM, fixture};

/// The longest that the first look may take.
const LOOKED: Duration = Duration::from_secs(30);

#[tokio::test]
async fn every_missing_key_is_told_by_its_id_once() {
    let kms = fixture().await;
    let lost = [kms.made_id(FILESYSTEM).await, kms.made_id(FILESYSTEM).await];
    kms.lose_key_files();
    let kept = kms.made_id(FILESYSTEM).await;
    let (log, _guard) = Log::begin();
    let kms = kms.restarted().await;
    let over = CancellationToken::new();
    let told = |id: &str| {
        let text = log.text();
        let about = format!("key missing engine_id={FILESYSTEM} key_id={id}");
        text.lines().filter(|line| line.contains(&about)).count()
    };
    let begun = Instant::now();
    let looking = async {
        while lost.iter().any(|id| told(id) == 0) {
            assert!(begun.elapsed() < LOOKED, "{}", log.text());
            tokio::task::yield_now().await;
        }
        over.cancel();
    };
    tokio::join!(kms.kms.run(&over), looking);
    assert_eq!([told(&lost[0]), told(&lost[1]), told(&kept)], [1, 1, 0]);
    let text = log.text();
    let sums = text.lines().filter(|line| line.contains("keys missing"));
    let sums: Vec<&str> = sums.collect();
    assert_eq!(sums.len(), 1, "{text}");
    assert!(sums[0].contains("missing=2 keys=3"), "{text}");
}
