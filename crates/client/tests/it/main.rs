//! The client against a small TCP server that answers as it is told to.

#![cfg(test)]

mod calls;
mod oidc;
mod server;
