//! Configuration of the jobs that follow things in time.

use serde::{Deserialize, Serialize};

/// Whether such a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MonitoringJobConfig {
    /// Whether it runs; nothing changes by time otherwise. Default `true`.
    pub enabled: bool,
    /// Read for compatibility and without effect: the job acts when something is due.
    pub frequency: String,
}

impl Default for MonitoringJobConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            frequency: String::new(),
        }
    }
}
