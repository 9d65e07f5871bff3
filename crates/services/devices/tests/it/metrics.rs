//! Metrics appear under their names.

use lamassu_db::system_caller;
use lamassu_devices::metrics::{BOUND, CREATED, SLOT_STATUS};
use lamassu_http::testing::SeenMetrics;
use time::Duration;

use crate::support::{caller, fixture, just_in_time};

#[tokio::test]
async fn changes_are_counted() {
    let fixture = fixture().await;
    let seen = SeenMetrics::default();
    let _guard = metrics::set_default_local_recorder(&seen);
    let request = just_in_time("dev-1", "0a");
    fixture
        .service
        .bind_identity(&caller(), request)
        .await
        .unwrap();
    fixture.clock.advance(Duration::days(80));
    fixture
        .local
        .windows_job()
        .run(&system_caller("test"), fixture.db.now())
        .await
        .unwrap();

    let counts = seen.counts();
    for line in [
        format!("{CREATED} "),
        format!("{BOUND} "),
        format!("{SLOT_STATUS} status=RENEWAL_PENDING"),
    ] {
        assert_eq!(counts.get(&line), Some(&1), "{line} in {counts:?}");
    }
}
