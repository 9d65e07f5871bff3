//! Whatever is applied, by whichever process, is what some order one by one gives.

use std::collections::{BTreeMap, BTreeSet};

use lamassu_db::{Check, Db, Event, WriteSet, params, sql};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::{FREE, REVISION};
use crate::fixture::{Fixture as _, Postgres, caller, insert_thing, soon};

const GUARD: Check = Check::new("the thing is as it was read");

/// What a set does with one of a few things.
#[derive(Clone, Debug)]
enum Op {
    Insert(u8),
    /// Adds to the size, at a revision.
    Grow(u8, i64, i64),
    Guard(u8, i64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        2 => (0..5_u8).prop_map(Op::Insert),
        4 => (0..5_u8, 1..6_i64, 1..9_i64).prop_map(|(id, at, by)| Op::Grow(id, at, by)),
        2 => (0..5_u8, 1..6_i64).prop_map(|(id, at)| Op::Guard(id, at)),
    ];
    proptest::collection::vec(op, 1..4)
}

fn write_set(db: &Db, number: usize, ops: &[Op]) -> WriteSet {
    let mut set = WriteSet::new();
    for op in ops {
        match op {
            Op::Insert(id) => {
                set.expect_one(insert_thing(&id.to_string(), "T", 0), FREE);
            }
            Op::Grow(id, at, by) => {
                set.expect_one(
                    sql(
                        "UPDATE thing SET size = size + $1, revision = revision + 1 \
                         WHERE id = $2 AND revision = $3",
                        params![*by, id.to_string(), *at],
                    ),
                    REVISION,
                );
            }
            Op::Guard(id, at) => {
                set.guard(
                    sql(
                        "SELECT id FROM thing WHERE id = $1 AND revision = $2",
                        params![id.to_string(), *at],
                    ),
                    GUARD,
                );
            }
        }
    }
    for part in 0..2 {
        let data = [number, part];
        set.event(Event::new("thing.update", "service/test", &caller(), db.now()).data(&data));
    }
    set
}

/// Applied sets by the state of a thing that they made, looked at, and ended.
#[derive(Default)]
struct States {
    made: BTreeMap<(u8, i64), usize>,
    seen: BTreeMap<(u8, i64), BTreeSet<usize>>,
    ended: BTreeMap<(u8, i64), usize>,
    sizes: BTreeMap<u8, i64>,
}

impl States {
    fn of(applied: &[(usize, Vec<Op>)]) -> Self {
        let mut states = Self::default();
        for (number, ops) in applied {
            for op in ops {
                match *op {
                    Op::Insert(id) => {
                        let twice = states.made.insert((id, 1), *number);
                        assert_eq!(twice, None, "{id} was inserted twice");
                        states.sizes.entry(id).or_default();
                    }
                    Op::Grow(id, at, by) => {
                        let twice = states.ended.insert((id, at), *number);
                        assert_eq!(twice, None, "{id} was changed twice at {at}");
                        states.made.insert((id, at + 1), *number);
                        *states.sizes.entry(id).or_default() += by;
                    }
                    Op::Guard(id, at) => {
                        states.seen.entry((id, at)).or_default().insert(*number);
                    }
                }
            }
        }
        states
    }

    /// Who must be before whom: a state is made, then looked at, then ended.
    fn order(&self) -> BTreeSet<(usize, usize)> {
        let mut order = BTreeSet::new();
        for (state, &by) in &self.ended {
            order.insert((self.made[state], by));
        }
        for (state, by) in &self.seen {
            for &by in by {
                order.insert((self.made[state], by));
                order.extend(self.ended.get(state).map(|&end| (by, end)));
            }
        }
        order.retain(|(before, after)| before != after);
        order
    }
}

/// Takes away whoever has nobody before them, again and again; what is left goes in a circle.
fn circle(mut order: BTreeSet<(usize, usize)>) -> BTreeSet<(usize, usize)> {
    loop {
        let led: BTreeSet<_> = order.iter().map(|(_, after)| *after).collect();
        let n = order.len();
        order.retain(|(before, _)| led.contains(before));
        if order.len() == n {
            return order;
        }
    }
}

async fn check(sets: Vec<Vec<Op>>) -> usize {
    let fixture = Postgres::fresh().await;
    let other = fixture.another().await;
    let commits = sets.iter().enumerate().map(|(number, ops)| {
        let db = if number % 2 == 0 {
            fixture.db()
        } else {
            &other
        };
        db.commit(write_set(db, number, ops))
    });
    let outcomes = soon(futures_util::future::join_all(commits)).await;
    let mut applied = Vec::new();
    for (number, (ops, outcome)) in sets.into_iter().zip(outcomes).enumerate() {
        match outcome {
            Ok(_) => applied.push((number, ops)),
            Err(error) => assert!(error.is_race(), "{error:?}"),
        }
    }
    let states = States::of(&applied);
    let left = circle(states.order());
    assert!(left.is_empty(), "no order gives this: {left:?} {applied:?}");

    let query = sql("SELECT id, size, revision FROM thing", Vec::new());
    let mut found = BTreeMap::new();
    for row in fixture.db().rows(query).await.expect("query") {
        let id: u8 = row
            .get::<String>("id")
            .expect("id")
            .parse()
            .expect("number");
        found.insert(id, row.get::<i64>("size").expect("size"));
        let revision: i64 = row.get("revision").expect("revision");
        assert!(
            states.made.contains_key(&(id, revision)),
            "{id} at {revision}"
        );
        assert!(
            !states.ended.contains_key(&(id, revision)),
            "{id} at {revision}"
        );
    }
    assert_eq!(found, states.sizes);

    let query = sql("SELECT body FROM event_log ORDER BY seq", Vec::new());
    let mut told: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for row in fixture.db().rows(query).await.expect("query") {
        let body: String = row.get("body").expect("body");
        let event: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let [number, part]: [usize; 2] =
            serde_json::from_value(event["data"].clone()).expect("data");
        told.entry(number).or_default().push(part);
    }
    let expected: BTreeMap<_, _> = applied.iter().map(|(n, _)| (*n, vec![0, 1])).collect();
    assert_eq!(
        told, expected,
        "each applied set tells its two events, in order"
    );
    applied.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_processes_apply_has_an_order() {
    let mut runner = TestRunner::deterministic();
    let mut applied = 0;
    for _ in 0..12 {
        let sets = proptest::collection::vec(ops(), 80);
        applied += check(sets.new_tree(&mut runner).expect("sets").current()).await;
    }
    assert!(applied > 60, "too few sets were possible: {applied}");
}
