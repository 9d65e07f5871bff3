//! U+0000 in a document. No text that a database keeps may hold it, and no client means it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Most characters of a place that an error repeats.
const MAX_PLACE_CHARS: usize = 128;

/// Whether a name or a string of this document holds U+0000. It is written as an escape there:
/// JSON allows no bare control characters, and no backslash outside of strings.
pub(super) fn holds_nul(json: &str) -> bool {
    let mut rest = json;
    while let Some((_, escape)) = rest.split_once('\\') {
        if escape.starts_with("u0000") {
            return true;
        }
        // What is escaped may be a backslash itself.
        let mut characters = escape.chars();
        characters.next();
        rest = characters.as_str();
    }
    false
}

/// Where the first one is: the names of the members that lead to it, `metadata.note`. `None` where
/// it is in no member, or where the document cannot be read to there.
pub(super) fn place_of_nul(json: &str) -> Option<String> {
    let (mut path, mut found) = (Vec::new(), None);
    let search = Search {
        path: &mut path,
        found: &mut found,
    };
    let mut document = serde_json::Deserializer::from_str(json);
    // What was found before the end of what can be read was found.
    let _readable = search.deserialize(&mut document).is_ok();
    found.filter(|place| !place.is_empty())
}

/// Goes through all values and keeps the place of the first U+0000.
struct Search<'a> {
    path: &'a mut Vec<String>,
    found: &'a mut Option<String>,
}

impl Search<'_> {
    fn look_at(&mut self, text: &str) {
        if text.contains('\0') && self.found.is_none() {
            let place = self.path.join(".").replace('\0', "\\u0000");
            *self.found = Some(place.chars().take(MAX_PLACE_CHARS).collect());
        }
    }

    fn within(&mut self) -> Search<'_> {
        Search {
            path: self.path,
            found: self.found,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Search<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        self.look_at(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.within())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            self.path.push(name.clone());
            self.look_at(&name);
            members.next_value_seed(self.within())?;
            self.path.pop();
        }
        Ok(())
    }
}
