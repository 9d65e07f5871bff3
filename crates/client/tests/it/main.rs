//! The client against a small TCP server that answers as it is told to.

#![cfg(test)]

mod answers_that_stand;
mod calls;
mod oidc;
mod server;
