//! One table per error enum: what a refusal was before the wire.

mod ca;
mod dead_letter;
mod device;
mod device_group;
mod dms;
mod kms;
mod query;
mod registry;
#[cfg(test)]
mod tests;
mod va;
