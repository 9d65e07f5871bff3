//! End-to-end tests: the real program, real clients, real sockets.
//!
//! Each test starts the program of this checkout on free ports with a data directory of its own,
//! talks to it as its users do (curl, openssl, strongSwan's `pki`, raw TLS), and stops it.

#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests drive other processes: they wait on the wall clock and read the environment"
)]

mod support;

mod apart;
mod backup;
mod between;
mod bouncy_castle;
mod command_line;
mod crash;
mod crl_shards;
mod daily_commands;
mod description;
mod est_clients;
mod est_command;
mod est_wire;
mod first_device;
mod go_client;
mod guide;
mod kill;
mod killed_enrollments;
mod login;
mod lost_keys;
mod mistakes;
mod outage;
mod overload;
mod power;
mod refusals;
mod relying_commands;
mod replicas;
mod routes;
mod schemathesis;
mod tidy;
mod tokens;
mod validation;
