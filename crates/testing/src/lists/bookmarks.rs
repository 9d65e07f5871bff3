//! Bookmarks: they decide everything, belong to one list, and bear no change.

use lamassu_core::percent;
use lamassu_core::query::FieldKind;

use super::ListOf;

impl ListOf<'_> {
    /// The bookmark behind the first item, in the order of creation.
    ///
    /// # Panics
    ///
    /// When there are not two items.
    pub async fn bookmark(&self) -> String {
        let page = self.page("page_size=1").await;
        let next = page["next"].as_str().unwrap_or_default();
        assert_ne!(next, "", "{}: too few items", self.path);
        next.to_owned()
    }

    /// A bookmark decides page size, filters and sort; changed, cut off, or of another list it is
    /// refused.
    ///
    /// # Panics
    ///
    /// When a bookmark is taken for what it is not.
    pub async fn check_bookmarks(&self, foreign: &[String]) {
        let texts = self
            .fields
            .iter()
            .filter(|field| field.kind == FieldKind::String);
        let field = texts.map(|field| field.name).next().unwrap_or_default();
        let first = format!("filter={field}[nc]%01&sort_by={field}&sort_mode=desc&page_size=1");
        let whole = self.walk(&first).await.concat();
        let page = self.page(&first).await;
        let next = page["next"].as_str().unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(!next.is_empty() && next.bytes().all(is_plain), "{next}");
        for also in [
            String::new(),
            "&sort_mode=asc".to_owned(),
            format!("&page_size=9&sort_by=nope&filter={field}[eq]nobody"),
            format!("&filter=nope[gt]x&page_size=x&filter={field}[in]"),
        ] {
            let answer = self.answer(&format!("bookmark={next}{also}")).await;
            assert_eq!(Some(&answer), whole.get(1), "{}: {also}", self.path);
        }
        // Of several the last one counts, and an empty one is none.
        let answer = self.answer(&format!("bookmark=x&bookmark={next}")).await;
        assert_eq!(Some(&answer), whole.get(1), "{}", self.path);
        let answer = self.answer(&format!("bookmark=&{first}")).await;
        assert_eq!(Some(&answer), whole.first(), "{}", self.path);
        let taken = self.taken(changed(next).iter().chain(foreign)).await;
        assert_eq!(taken, Vec::<String>::new(), "{}", self.path);
    }

    /// What is not refused as it should be.
    async fn taken<'b>(&self, bookmarks: impl Iterator<Item = &'b String>) -> Vec<String> {
        let router = self.router();
        let mut taken = Vec::new();
        for text in bookmarks {
            let query = format!("bookmark={}", percent::encode(text));
            let answer = self.answer_of(&router, &query).await;
            if answer != "not a valid bookmark" {
                taken.push(format!("{text}: {answer}"));
            }
        }
        taken
    }
}

/// Each character changed in its turn, cut off everywhere, doubled, in another alphabet.
fn changed(bookmark: &str) -> Vec<String> {
    let mut changed: Vec<String> = ["x", " ", "b2ZmOjI1O2xpbToyNTs", "é", "\u{202e}"]
        .map(str::to_owned)
        .to_vec();
    changed.extend([
        bookmark.to_uppercase(),
        format!("{bookmark}{bookmark}"),
        format!("{bookmark}="),
        format!("{bookmark}A"),
        format!(" {bookmark}"),
    ]);
    for (place, character) in bookmark.char_indices().step_by(7) {
        let (before, after) = bookmark.split_at(place);
        let other = if character == 'A' { 'B' } else { 'A' };
        let rest: String = after.chars().skip(1).collect();
        changed.push(format!("{before}{other}{rest}"));
        if !before.is_empty() {
            changed.push(before.to_owned());
        }
    }
    changed
}
