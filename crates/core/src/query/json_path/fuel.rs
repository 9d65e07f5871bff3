//! What one evaluation may cost.

use std::cell::Cell;

use super::item::Failure;

/// Items that one evaluation may visit, make or compare. Far above what a filter over one row's document
/// needs, and some milliseconds at most.
const MAX_ITEMS: usize = 100_000;

/// Bytes of text whose reading or copying counts as one item.
const BYTES_PER_ITEM: usize = 64;

/// The items that an evaluation may still visit. Nested wildcards and filters multiply, so the
/// length of an expression bounds neither its time nor its memory; this does.
#[derive(Debug)]
pub(super) struct Fuel(Cell<usize>);

impl Fuel {
    pub(super) const fn full() -> Self {
        Self(Cell::new(MAX_ITEMS))
    }

    /// Takes so many items off. Where that leaves none, this and every later call fails.
    pub(super) fn spend(&self, items: usize) -> Result<(), Failure> {
        self.0.set(self.0.get().saturating_sub(items));
        if self.is_spent() {
            Err(Failure)
        } else {
            Ok(())
        }
    }

    /// Whether the evaluation was cut short.
    pub(super) const fn is_spent(&self) -> bool {
        self.0.get() == 0
    }
}

/// What reading a text costs beyond its item.
pub(super) const fn text_cost(text: &str) -> usize {
    text.len() / BYTES_PER_ITEM
}
