//! The envelope of every list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One page of a list: `{"next":"<bookmark or empty>","list":[…]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// The bookmark of the next page, empty on the last one.
    #[schemars(example = &"")]
    pub next: String,
    /// The items, never null.
    pub list: Vec<T>,
}

impl<T> Page<T> {
    /// The same page with each item turned into another.
    ///
    /// # Errors
    /// The first error of `convert`.
    pub fn try_map<U, E>(self, convert: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        let list = self
            .list
            .into_iter()
            .map(convert)
            .collect::<Result<_, E>>()?;
        Ok(Page {
            next: self.next,
            list,
        })
    }
}
