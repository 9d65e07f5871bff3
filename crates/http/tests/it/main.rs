//! The HTTP layer, seen from outside through a router.
#![cfg(test)]

mod admission;
mod bodies;
mod edge;
mod guard;
mod operations;
mod replies;
mod routing;
mod support;
