//! The suite of the storage layer: the same tests for every database, and what is SQLite's own.
#![cfg(test)]

mod events;
mod fixture;
mod jobs;
mod leases;
mod lists;
mod postgres_only;
mod schemas;
mod sqlite_only;
mod write_sets;
