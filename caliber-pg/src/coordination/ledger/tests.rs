//! The ledger against a lock manager of its own: after any history, what is
//! held is what the surviving steps say.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

const ONE: Uuid = Uuid::from_u128(1);
const TWO: Uuid = Uuid::from_u128(2);
const TOP: SubTransaction = SubTransaction::numbered(1);
const INNER: SubTransaction = SubTransaction::numbered(2);
const DEEP: SubTransaction = SubTransaction::numbered(3);

/// How often each lock is held.
#[derive(Default)]
struct Manager(RefCell<BTreeMap<String, u32>>);

fn name(tag: Tag, mode: Mode) -> String {
    format!("{tag:?} {mode:?}")
}

impl Locks for Manager {
    fn held(&self, tag: Tag, mode: Mode) -> bool {
        self.0.borrow().contains_key(&name(tag, mode))
    }

    fn release(&self, tag: Tag, mode: Mode) {
        let mut held = self.0.borrow_mut();
        let count = held.get_mut(&name(tag, mode)).expect("not held");
        *count -= 1;
        if *count == 0 {
            held.remove(&name(tag, mode));
        }
    }
}

impl Manager {
    fn lock(&self, tag: Tag, mode: Mode) {
        *self.0.borrow_mut().entry(name(tag, mode)).or_default() += 1;
    }

    fn free_all(&self) {
        self.0.borrow_mut().clear();
    }

    fn count(&self, tag: Tag, mode: Mode) -> u32 {
        let held = self.0.borrow();
        held.get(&name(tag, mode)).copied().unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

fn key() -> Tag {
    Tag::of_user(7)
}

/// A session lock is acquired.
fn acquire(ledger: &mut Ledger, locks: &Manager, lock: Uuid, mode: Mode, by: SubTransaction) {
    ledger.prepare(lock, 2, locks);
    locks.lock(own_tag(lock), Mode::Exclusive);
    ledger.take(lock, own_tag(lock), Mode::Exclusive, by);
    locks.lock(key(), mode);
    ledger.take(lock, key(), mode, by);
}

/// A shared session lock becomes exclusive.
fn upgrade(ledger: &mut Ledger, locks: &Manager, lock: Uuid, by: SubTransaction) {
    ledger.prepare(lock, 1, locks);
    locks.lock(key(), Mode::Exclusive);
    ledger.take(lock, key(), Mode::Exclusive, by);
    ledger.give_back_mode(lock, Mode::Shared, by, locks);
}

#[test]
fn what_an_aborted_transaction_took_is_given_back() {
    let (mut ledger, locks) = (Ledger::new(), Manager::default());
    acquire(&mut ledger, &locks, ONE, Mode::Exclusive, TOP);
    assert!(ledger.is_touched());
    ledger.aborted(&locks);
    assert!(locks.is_empty());
    assert!(!ledger.is_touched());
}

#[test]
fn what_a_committed_transaction_released_is_given_back_then_and_only_then() {
    let (mut ledger, locks) = (Ledger::new(), Manager::default());
    acquire(&mut ledger, &locks, ONE, Mode::Exclusive, TOP);
    ledger.committed(&locks);
    assert!(!ledger.is_touched());
    assert!(ledger.give_back(ONE, TOP, &locks));
    assert!(!ledger.give_back(ONE, TOP, &locks), "twice");
    assert_eq!(locks.count(key(), Mode::Exclusive), 1);
    ledger.aborted(&locks);
    assert_eq!(locks.count(key(), Mode::Exclusive), 1);
    assert!(ledger.give_back(ONE, TOP, &locks));
    ledger.committed(&locks);
    assert!(locks.is_empty());
}

#[test]
fn a_rollback_to_a_savepoint_undoes_acquire_release_and_upgrade() {
    let (mut ledger, locks) = (Ledger::new(), Manager::default());
    acquire(&mut ledger, &locks, ONE, Mode::Shared, TOP);
    ledger.committed(&locks);

    upgrade(&mut ledger, &locks, ONE, INNER);
    acquire(&mut ledger, &locks, TWO, Mode::Shared, INNER);
    assert!(ledger.give_back(ONE, DEEP, &locks));
    ledger.sub_aborted(DEEP, &locks);
    ledger.sub_aborted(INNER, &locks);
    ledger.committed(&locks);
    assert_eq!(locks.count(key(), Mode::Shared), 1);
    assert_eq!(locks.count(key(), Mode::Exclusive), 0);
    assert_eq!(locks.count(own_tag(ONE), Mode::Exclusive), 1);
    assert_eq!(locks.count(own_tag(TWO), Mode::Exclusive), 0);

    upgrade(&mut ledger, &locks, ONE, DEEP);
    ledger.sub_committed(DEEP, INNER);
    ledger.sub_committed(INNER, TOP);
    ledger.committed(&locks);
    assert_eq!(locks.count(key(), Mode::Shared), 0);
    assert_eq!(locks.count(key(), Mode::Exclusive), 1);

    assert!(ledger.give_back(ONE, INNER, &locks));
    ledger.sub_committed(INNER, TOP);
    ledger.committed(&locks);
    assert!(locks.is_empty());
}

#[test]
fn what_discard_all_freed_is_not_given_back_again() {
    let (mut ledger, locks) = (Ledger::new(), Manager::default());
    acquire(&mut ledger, &locks, ONE, Mode::Exclusive, TOP);
    ledger.committed(&locks);
    locks.free_all();
    // The user's own lock on the same key.
    locks.lock(key(), Mode::Exclusive);
    assert!(!ledger.give_back(ONE, TOP, &locks));
    ledger.committed(&locks);
    assert_eq!(locks.count(key(), Mode::Exclusive), 1);
    // The same id again: nothing old is mixed up with the new.
    acquire(&mut ledger, &locks, ONE, Mode::Exclusive, TOP);
    ledger.aborted(&locks);
    assert_eq!(locks.count(key(), Mode::Exclusive), 1);
    assert_eq!(locks.count(own_tag(ONE), Mode::Exclusive), 0);
}

#[test]
fn freed_holds_are_forgotten_in_time() {
    let (mut ledger, locks) = (Ledger::new(), Manager::default());
    for n in 0..10_000 {
        acquire(&mut ledger, &locks, Uuid::from_u128(n), Mode::Shared, TOP);
        ledger.committed(&locks);
        locks.free_all();
    }
    assert!(ledger.holds.capacity() < 64);
}

#[test]
fn a_take_that_came_to_nothing_leaves_what_was_held_before() {
    let (mut ledger, locks) = (Ledger::new(), Manager::default());
    acquire(&mut ledger, &locks, ONE, Mode::Shared, TOP);
    acquire(&mut ledger, &locks, TWO, Mode::Shared, TOP);
    ledger.untake(TWO, 2, &locks);
    assert_eq!(locks.count(key(), Mode::Shared), 1);
    assert_eq!(locks.count(own_tag(TWO), Mode::Exclusive), 0);
    ledger.committed(&locks);
    assert_eq!(locks.count(key(), Mode::Shared), 1);
}

#[test]
fn rows_of_a_rolled_back_savepoint_are_forgotten() {
    let (mut ledger, locks) = (Ledger::new(), Manager::default());
    for (lock, by) in [(ONE, TOP), (TWO, INNER)] {
        let (schema, table) = (1, 1);
        ledger.wrote(WrittenRow {
            lock,
            schema,
            table,
            by,
        });
    }
    assert!(ledger.has_written(TWO));
    ledger.sub_aborted(INNER, &locks);
    assert!(!ledger.has_written(TWO));
    let rows: Vec<Uuid> = ledger.take_rows().into_iter().map(|row| row.lock).collect();
    assert_eq!(rows, [ONE]);
}
