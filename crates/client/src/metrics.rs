//! What is counted.

use metrics::{counter, describe_counter};

const TOKEN_REFRESH: &str = "lamassu_client_token_refresh_total";

/// Names the metrics of this crate and says what they mean.
pub fn describe_metrics() {
    describe_counter!(
        TOKEN_REFRESH,
        "Tokens asked for at an identity provider, by result."
    );
}

pub(crate) fn token_refresh(result: &'static str) {
    counter!(TOKEN_REFRESH, "result" => result).increment(1);
}
