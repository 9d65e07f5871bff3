//! Logs: text for people, JSON for machines, on standard error.

use serde::{Deserialize, Serialize};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::prelude::*;

/// Migrations and the database's notices tell their steps at `info`, the pool tells of each connection
/// that an outage broke; ours tell what matters.
const OF_LIBRARIES: &str = "refinery_core=warn,tokio_postgres=warn,deadpool=error";

/// What is logged, and how.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LogsConfig {
    /// `trace`, `debug`, `info`, `warn`, `error`, or `none`; a `tracing` filter such as
    /// `info,lamassu_ca=debug` works too. Empty or unknown means `info`.
    pub(crate) level: String,
    /// `text` or `json`; `text` by default.
    pub(crate) format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

impl LogsConfig {
    fn filter(&self) -> (EnvFilter, Option<&str>) {
        let level = match self.level.as_str() {
            "" => "info",
            "none" => "off",
            "fatal" | "panic" => "error",
            // A single word that is no level would be a filter for a module of that name.
            word if !word.contains(['=', ',']) && word.parse::<Level>().is_err() => {
                return (EnvFilter::new(format!("{OF_LIBRARIES},info")), Some(word));
            }
            level => level,
        };
        match EnvFilter::try_new(format!("{OF_LIBRARIES},{level}")) {
            Ok(filter) => (filter, None),
            Err(_) => (EnvFilter::new(format!("{OF_LIBRARIES},info")), Some(level)),
        }
    }

    /// The level, where it is none and `info` is used instead.
    pub(crate) fn unknown_level(&self) -> Option<&str> {
        self.filter().1
    }
}

/// Starts logging for the whole process.
pub(crate) fn start(config: &LogsConfig) {
    let (filter, unknown) = config.filter();
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    let started = match config.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry
                .with(layer.with_ansi(colours).with_target(false))
                .try_init()
        }
        LogFormat::Json => registry
            .with(
                layer
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false),
            )
            .try_init(),
    };
    if started.is_ok()
        && let Some(level) = unknown
    {
        tracing::warn!(level, "unknown log level, using info");
    }
}
