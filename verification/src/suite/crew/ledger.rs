//! The ledger: what a writer was told, kept outside the server. Facts are
//! texts by name (`scope/<id>` is `t|100`), as the tables are read back.

use anyhow::{ensure, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Facts by name.
pub type Facts = BTreeMap<String, String>;

/// What a transaction changes: new facts, and facts that go.
pub type Changes = BTreeMap<String, Option<String>>;

/// What one writer knows. No other writer changes the same facts, but what several
/// compete for (a message to receive, work to accept) goes to whoever commits first.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// What was acknowledged.
    known: Facts,
    /// What was sent to be committed, and not answered.
    doubt: Option<Doubt>,
}

/// A commit that was sent and not answered.
#[derive(Clone, Debug)]
struct Doubt {
    changes: Changes,
    /// The mark that its transaction left: there if and only if it was committed.
    mark: String,
}

impl Ledger {
    /// What was acknowledged.
    pub fn known(&self) -> &Facts {
        &self.known
    }

    /// Whether something was sent and not answered.
    pub fn in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// The facts of a kind: the ids, and what is known of each.
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.known
            .range(format!("{kind}/")..format!("{kind}0"))
            .map(move |(name, state)| (&name[kind.len() + 1..], state.as_str()))
    }

    /// The commit of a transaction is sent that left this mark.
    pub fn sent(&mut self, changes: Changes, mark: String) {
        self.doubt = Some(Doubt { changes, mark });
    }

    /// It was acknowledged.
    pub fn acknowledged(&mut self) {
        for (name, state) in self
            .doubt
            .take()
            .into_iter()
            .flat_map(|doubt| doubt.changes)
        {
            match state {
                Some(state) => self.known.insert(name, state),
                None => self.known.remove(&name),
            };
        }
    }

    /// It was refused: nothing of it may be there.
    pub fn refused(&mut self) {
        self.doubt = None;
    }

    /// Forgets facts that somebody else ended.
    pub fn forget(&mut self, gone: impl Fn(&str, &str) -> bool) {
        self.known.retain(|name, state| !gone(name, state));
    }

    /// What became of the doubt is seen in its mark: from here on all of it counts, or
    /// nothing. Says which, if there was one.
    pub fn settle(&mut self, marks: &BTreeSet<String>) -> Option<String> {
        let doubt = self.doubt.as_ref()?;
        let said = format!("{}: {:?}", doubt.mark, doubt.changes);
        if marks.contains(&doubt.mark) {
            self.acknowledged();
            Some(format!("committed, unanswered: {said}"))
        } else {
            self.refused();
            Some(format!("not committed: {said}"))
        }
    }
}

/// Compares what all ledgers know with what is there.
///
/// # Errors
/// Saying what is missing, other, or too much.
pub fn compare<'a>(ledgers: impl IntoIterator<Item = &'a Ledger>, there: &Facts) -> Result<()> {
    let mut known: BTreeMap<&String, &String> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, state) in ledgers.into_iter().flat_map(|ledger| &ledger.known) {
        if let Some(other) = known.insert(name, state).filter(|&other| other != state) {
            wrong.push(format!(
                "{name}: acknowledged as {other:?} and as {state:?}"
            ));
        }
    }
    let others = known
        .iter()
        .filter(|(name, state)| there.get(**name) != Some(**state))
        .map(|(name, state)| format!("{name}: acknowledged {state:?}, is {:?}", there.get(*name)));
    wrong.extend(others);
    wrong.extend(
        there
            .iter()
            .filter(|(name, _)| !known.contains_key(name))
            .map(|(name, state)| format!("{name}: nobody acknowledged {state:?}")),
    );
    ensure!(
        wrong.is_empty(),
        "{} of {} facts are wrong:\n  {}",
        wrong.len(),
        known.len(),
        wrong[..wrong.len().min(12)].join("\n  ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(list: &[(&str, &str)]) -> Facts {
        let owned = |(name, state): &(&str, &str)| ((*name).to_owned(), (*state).to_owned());
        list.iter().map(owned).collect()
    }

    fn in_doubt() -> Ledger {
        let mut ledger = Ledger::default();
        let first = [("a/1".to_owned(), Some("x".to_owned()))];
        ledger.sent(first.into(), "0-1".to_owned());
        ledger.acknowledged();
        let second = [
            ("a/1".to_owned(), None),
            ("a/2".to_owned(), Some("y".to_owned())),
        ];
        ledger.sent(second.into(), "0-2".to_owned());
        ledger
    }

    #[test]
    fn a_doubt_is_all_or_nothing_as_its_mark_says() {
        let (before, after) = (facts(&[("a/1", "x")]), facts(&[("a/2", "y")]));
        let half = facts(&[("a/1", "x"), ("a/2", "y")]);
        for (mark, right, wrong) in [("0-2", &after, &before), ("0-1", &before, &after)] {
            let mut ledger = in_doubt();
            assert!(ledger.settle(&[mark.to_owned()].into()).is_some());
            assert!(!ledger.in_doubt());
            assert!(compare([&ledger], right).is_ok(), "{mark}");
            for there in [wrong, &half, &Facts::new()] {
                assert!(compare([&ledger], there).is_err(), "{mark}: {there:?}");
            }
        }
    }

    #[test]
    fn nothing_is_given_to_two() {
        let ledgers = ["x", "y"].map(|state| {
            let mut ledger = Ledger::default();
            let received = [("received/1".to_owned(), Some(state.to_owned()))];
            ledger.sent(received.into(), "0-1".to_owned());
            ledger.acknowledged();
            ledger
        });
        assert!(compare(&ledgers, &facts(&[("received/1", "y")])).is_err());
    }

    #[test]
    fn nothing_in_doubt_is_nothing_to_settle() {
        let mut ledger = in_doubt();
        ledger.acknowledged();
        assert_eq!(ledger.settle(&BTreeSet::new()), None);
        assert!(compare([&ledger], &facts(&[("a/2", "y")])).is_ok());
    }

    #[test]
    fn what_was_acknowledged_is_there_and_nothing_else() {
        let mut ledger = in_doubt();
        ledger.refused();
        assert!(compare([&ledger], &facts(&[("a/1", "x")])).is_ok());
        assert!(compare([&ledger], &facts(&[])).is_err());
        assert!(compare([&ledger], &facts(&[("a/1", "y")])).is_err());
        assert!(compare([&ledger], &facts(&[("a/1", "x"), ("b/1", "x")])).is_err());
    }
}
