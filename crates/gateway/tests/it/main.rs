//! The gateway against real clients: curl, openssl, raw sockets, and clients that cheat.
#![cfg(test)]

mod client_certificates;
mod forwarded;
mod http_wire;
mod limits;
mod metrics;
mod own_certificate;
mod plain_http;
mod possession;
mod shutdown;
mod start;
mod support;
