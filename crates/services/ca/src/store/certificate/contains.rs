//! What a name contains is found with trigrams as it is by reading every name.

use lamassu_core::query::{ListRequest, QueryLimits, fold};
use lamassu_db::list::{count, list};
use lamassu_db::{Db, WriteSet, params, sql};

use super::TABLE;
use super::plans::{add_all_texts, fill, fresh};

/// Letters that fold in unusual ways, and what is special somewhere: in patterns, in FTS5, in SQL.
const LETTERS: &[&str] = &[
    "a", "A", "b", "B", "ß", "ẞ", "ſ", "s", "k", "K", "é", "É", "e\u{301}", "İ", "ı", "i", "Σ",
    "σ", "ς", "Ж", "ж", "漢", "🔑", "%", "_", "\\", "\"", "'", "*", "^", "-", " ", "(", ")", ":",
    "AND", "NOT", "a b", "+", "{", "}", "?",
];

/// A name that no other contains.
const LONGEST: &str = "the last of them all";

/// Numbers that look random and are the same every time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn text(&mut self, longest: usize) -> String {
        let length = 1 + self.below(longest);
        (0..length)
            .map(|_| LETTERS[self.below(LETTERS.len())])
            .collect()
    }

    /// A part of a name, its letters perhaps in another case.
    fn part(&mut self, name: &str) -> String {
        let letters: Vec<char> = name.chars().collect();
        let begin = self.below(letters.len());
        let end = begin + 1 + self.below(letters.len() - begin);
        let part: String = letters[begin..end].iter().collect();
        match self.below(3) {
            0 => part.to_uppercase(),
            1 => part.to_lowercase(),
            _ => part,
        }
    }
}

async fn name(db: &Db, number: usize, name: &str) {
    let mut set = WriteSet::new();
    set.execute(sql(
        "INSERT INTO certificate (id, serial_number, revision, created_at, der, status, \
         certificate_type, engine_id, is_ca, subject_common_name, subject_common_name_folded, \
         subject_key_id, authority_key_id, key_type, key_bits, key_strength, key_usage, \
         extended_key_usage, valid_from, valid_to, issuer_ca_id, issuer_serial_number, \
         issuer_level, revocation_timestamp, revocation_reason, expired_by_job) \
         SELECT $1, $1, revision, created_at, der, status, certificate_type, engine_id, is_ca, \
         $2, $3, subject_key_id, authority_key_id, key_type, key_bits, key_strength, key_usage, \
         extended_key_usage, valid_from, valid_to, issuer_ca_id, issuer_serial_number, \
         issuer_level, revocation_timestamp, revocation_reason, expired_by_job \
         FROM certificate WHERE id = 'id1'",
        params![format!("odd-{number:03}"), name, fold(name)],
    ));
    db.commit(set).await.unwrap();
}

fn query(operand: &str, needle: &str) -> ListRequest {
    let value: String = form_urlencoded(needle);
    let text = format!("page_size=250&filter=subject.common_name[{operand}]={value}");
    ListRequest::parse(&text, TABLE.fields, QueryLimits::default()).unwrap()
}

fn form_urlencoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn trigrams_find_what_reading_finds() {
    let (_database, db) = fresh().await;
    // Beside so many others an index is what the planner chooses.
    fill(&db).await;
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let mut names: Vec<String> = (0..200).map(|_| numbers.text(8)).collect();
    names.push(LONGEST.to_owned());
    for (number, text) in names.iter().enumerate() {
        name(&db, number, text).await;
        // Half of them are in the index, the others are not yet.
        if number == 100 {
            add_all_texts(&db).await;
        }
    }
    let plain: Vec<String> = (1..=20_000).map(|number| format!("Name{number}")).collect();
    let plain_folded: Vec<String> = plain.iter().map(|name| fold(name)).collect();
    for round in 0..200 {
        let needle = match round % 3 {
            0 => numbers.text(4),
            _ => {
                let whose = numbers.below(names.len());
                numbers.part(&names[whose])
            }
        };
        for (operand, by_case) in [("contains", true), ("contains_ignorecase", false)] {
            let wanted = if by_case {
                needle.clone()
            } else {
                fold(&needle)
            };
            let holds = |name: &String| match by_case {
                true => name.contains(&wanted),
                false => fold(name).contains(&wanted),
            };
            let request = query(operand, &needle);
            let page = list(&db, &TABLE, "test", &request, &[]).await.unwrap();
            let found: Vec<String> = page
                .list
                .iter()
                .map(|row| row.get::<String>("id").unwrap())
                .filter(|id| id.starts_with("odd-"))
                .collect();
            let expected: Vec<String> = names
                .iter()
                .enumerate()
                .filter(|(_, name)| holds(name))
                .map(|(number, _)| format!("odd-{number:03}"))
                .collect();
            // They are as old as the oldest of the others, so that all are on the first page.
            assert_eq!(found, expected, "{operand} {needle:?}");
            let others = if by_case { &plain } else { &plain_folded };
            let n_plain = others.iter().filter(|name| name.contains(&wanted)).count();
            let counted = count(&db, &TABLE, &request.filters, &[]).await.unwrap();
            let n_expected = i64::try_from(expected.len() + n_plain).unwrap();
            assert_eq!(counted, n_expected, "{operand} {needle:?}");
        }
    }
    // What is gone is not found any more, and the number of its row, given again, is another's.
    add_all_texts(&db).await;
    let mut set = WriteSet::new();
    set.execute(sql("DELETE FROM certificate WHERE id >= 'odd-'", params![]));
    db.commit(set).await.unwrap();
    name(&db, 0, "Nowhere").await;
    for indexed in [false, true] {
        for (needle, expected) in [("Nowhere", 1), ("owHer", 0), (LONGEST, 0)] {
            let request = query("contains", needle);
            let counted = count(&db, &TABLE, &request.filters, &[]).await.unwrap();
            assert_eq!(counted, expected, "{needle:?}, {indexed}");
        }
        add_all_texts(&db).await;
    }
}

/// The number of a row that came and went between two rounds of the job is given again below the place
/// up to which names were added.
#[tokio::test]
async fn a_row_in_the_place_of_others_that_are_gone_is_found() {
    let (_database, db) = fresh().await;
    fill(&db).await;
    name(&db, 0, "before").await;
    add_all_texts(&db).await;
    name(&db, 1, "between").await;
    for id in ["odd-000", "odd-001"] {
        let mut set = WriteSet::new();
        set.execute(sql("DELETE FROM certificate WHERE id = $1", params![id]));
        db.commit(set).await.unwrap();
    }
    name(&db, 2, "Nowhere").await;
    let request = query("contains", "Nowhere");
    for indexed in [false, true] {
        let counted = count(&db, &TABLE, &request.filters, &[]).await.unwrap();
        assert_eq!(counted, 1, "{indexed}");
        add_all_texts(&db).await;
    }
}

#[tokio::test]
async fn a_part_of_a_serial_number_finds_it_in_the_index_and_beside_it() {
    let (_database, db) = fresh().await;
    fill(&db).await;
    let expected = |needle: &str| {
        let numbers = (100_001..=120_000).map(|number: u32| number.to_string());
        numbers.filter(|number| number.contains(needle)).count()
    };
    for indexed in [true, false] {
        for needle in [
            "100777",
            "00777",
            "777",
            "1",
            "77a",
            "10077710077710077710077",
        ] {
            let text = format!("filter=serial_number[contains]{needle}");
            let request = ListRequest::parse(&text, TABLE.fields, QueryLimits::default()).unwrap();
            let counted = count(&db, &TABLE, &request.filters, &[]).await.unwrap();
            let mut wanted = expected(needle);
            // One more that has the digits, and is not in the index yet.
            let beside = usize::from(!indexed && "odd-100777".contains(needle));
            wanted += beside;
            assert_eq!(counted, i64::try_from(wanted).unwrap(), "{needle:?}");
            let page = list(&db, &TABLE, "test", &request, &[]).await.unwrap();
            assert_eq!(page.list.len(), wanted.min(25), "{needle:?}, {indexed}");
        }
        if indexed {
            name(&db, 100_777, "beside").await;
        }
    }
}
