//! Page sizes, and pages between which rows come and go.

use std::num::NonZeroU32;

use lamassu_core::query::{QueryLimits, UnknownFields};

use super::ListOf;

/// The largest page of the installation that is asked for page sizes.
const MAX_PAGE: u32 = 28;

impl ListOf<'_> {
    /// Page sizes are the reference's, up to the configured largest.
    ///
    /// # Panics
    ///
    /// When a page is of another size, or the list has fewer than 30 items.
    pub async fn check_page_sizes(&self) {
        let n_items = self.items().await.len();
        assert!(n_items >= 30, "{}: {n_items} are not enough", self.path);
        let router = self.router_under(QueryLimits {
            max_page_size: NonZeroU32::MIN.saturating_add(MAX_PAGE - 1),
            unknown_fields: UnknownFields::Ignore,
        });
        let mut wrong = Vec::new();
        for (query, expected) in [
            ("", 25),
            ("page_size=1", 1),
            ("page_size=7", 7),
            ("page_size=%2B7", 7),
            ("page_size=x", 25),
            ("page_size=7.0", 25),
            ("page_size=0x7", 25),
            ("page_size=", 25),
            ("page_size=0", 15),
            ("page_size=-1", 15),
            ("page_size=-99999999999999999999", 25),
            ("page_size=28", 28),
            ("page_size=29", 28),
            ("page_size=4294967296", 28),
            ("page_size=99999999999999", 28),
            ("page_size=99999999999999999999", 25),
            ("page_size=3&page_size=4", 4),
            ("page_size=4&page_size=x", 25),
            ("PAGE_SIZE=3", 25),
        ] {
            let answer = self.answer_of(&router, query).await;
            let n_found = answer.split_whitespace().count();
            if n_found != expected {
                wrong.push(format!(
                    "{query}: {n_found} instead of {expected}: {answer}"
                ));
            }
        }
        assert_eq!(wrong, Vec::<String>::new(), "{}", self.path);
    }

    /// Runs over everything see each item once and in order, whatever the page size and the ties;
    /// no last page is empty.
    ///
    /// # Panics
    ///
    /// When a run differs from the whole list.
    pub async fn check_runs(&self, sorts: &[&str]) {
        for sort in sorts {
            let whole = self.page(&format!("{sort}&page_size=9999")).await;
            let whole = self.names(&whole);
            for size in [1, 7, 10, whole.len() - 1, whole.len(), whole.len() + 1] {
                let pages = self.walk(&format!("{sort}&page_size={size}")).await;
                assert_eq!(pages.concat(), whole, "{}: {sort} by {size}", self.path);
                assert_eq!(
                    pages.len(),
                    whole.len().div_ceil(size),
                    "{}: {sort}",
                    self.path
                );
            }
        }
    }

    /// Rows that come and go between pages move no other: of nine items each is seen once, though
    /// all that a page showed is removed before the next, the row that the bookmark names too, and
    /// others are added.
    ///
    /// # Panics
    ///
    /// When an item is seen twice, or not at all.
    pub async fn check_changes_between_pages(
        &self,
        sort: &str,
        mut remove: impl AsyncFnMut(String),
        mut add: impl AsyncFnMut(),
    ) {
        let whole = self.names(&self.page(&format!("{sort}&page_size=9999")).await);
        assert!(whole.len() >= 6, "{}: {whole:?}", self.path);
        let mut seen = Vec::new();
        let mut query = format!("{sort}&page_size=2");
        loop {
            let page = self.page(&query).await;
            let shown = self.names(&page);
            seen.extend(shown.iter().cloned());
            for name in shown {
                if whole.contains(&name) {
                    remove(name).await;
                }
            }
            // Added ones may show up further down; the run must end all the same.
            if seen.len() < whole.len() {
                add().await;
            }
            match page["next"].as_str() {
                Some("") => break,
                next => query = format!("bookmark={}", next.unwrap_or("none")),
            }
        }
        let of_old = seen.into_iter().filter(|name| whole.contains(name));
        assert_eq!(of_old.collect::<Vec<_>>(), whole, "{}: {sort}", self.path);
    }
}
