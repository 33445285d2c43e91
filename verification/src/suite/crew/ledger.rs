//! The ledger: what a writer was told, kept outside the server. Facts are
//! texts by name (`scope/<id>` is `t|100`), as the tables are read back.

use anyhow::{bail, ensure, Result};
use std::collections::BTreeMap;

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
    doubt: Option<Changes>,
    /// Whether a COMMIT of that kind can be refused (only at SERIALIZABLE).
    refusable: bool,
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

    /// A commit is sent, which can be refused or not.
    pub fn sent(&mut self, changes: Changes, refusable: bool) {
        self.doubt = Some(changes);
        self.refusable = refusable;
    }

    /// It was acknowledged.
    pub fn acknowledged(&mut self) {
        for (name, state) in self.doubt.take().unwrap_or_default() {
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

    /// All facts that may be this writer's: acknowledged, or in doubt.
    pub fn claims(&self) -> Facts {
        let mut claims = self.known.clone();
        let doubt = self.doubt.iter().flatten();
        claims.extend(doubt.filter_map(|(name, state)| Some((name.clone(), state.clone()?))));
        claims
    }

    /// What became of the doubt is seen in what is there: all of it, or nothing. If its
    /// COMMIT can be refused, and was while the answer got lost, what it let go may be
    /// what somebody else claims; otherwise nobody else can have got it.
    ///
    /// # Errors
    /// When it is half done.
    pub fn settle(&mut self, there: &Facts, others: &Facts) -> Result<()> {
        let Some(doubt) = &self.doubt else {
            return Ok(());
        };
        let is = |expected: &dyn Fn(&str) -> Option<String>| {
            doubt
                .keys()
                .filter(|name| there.get(*name).cloned() == expected(name))
                .count()
        };
        let done = is(&|name| doubt.get(name).cloned().flatten());
        let undone = is(&|name| match (self.known.get(name), others.get(name)) {
            (None, Some(claimed)) if self.refusable && there.get(name) == Some(claimed) => {
                Some(claimed.clone())
            }
            (known, _) => known.cloned(),
        });
        if done == doubt.len() {
            self.acknowledged();
        } else if undone == doubt.len() {
            self.refused();
        } else {
            let shown: Vec<String> = doubt
                .iter()
                .map(|(name, state)| {
                    let (before, now) = (self.known.get(name), there.get(name));
                    format!("{name}: was {before:?}, to be {state:?}, is {now:?}")
                })
                .collect();
            bail!("a transaction is half done:\n  {}", shown.join("\n  "));
        }
        Ok(())
    }
}

/// Compares what all ledgers know with what is there.
///
/// # Errors
/// Saying what is missing, other, or too much.
pub fn compare<'a>(ledgers: impl IntoIterator<Item = &'a Ledger>, there: &Facts) -> Result<()> {
    let mut known = BTreeMap::new();
    for ledger in ledgers {
        known.extend(ledger.known.iter());
    }
    let mut wrong: Vec<String> = known
        .iter()
        .filter(|(name, state)| there.get(**name) != Some(**state))
        .map(|(name, state)| format!("{name}: acknowledged {state:?}, is {:?}", there.get(*name)))
        .collect();
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

    fn in_doubt(refusable: bool) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.sent([("a/1".to_owned(), Some("x".to_owned()))].into(), false);
        ledger.acknowledged();
        ledger.sent(
            [
                ("a/1".to_owned(), None),
                ("a/2".to_owned(), Some("y".to_owned())),
            ]
            .into(),
            refusable,
        );
        ledger
    }

    #[test]
    fn a_doubt_is_all_or_nothing() {
        for (there, right) in [
            (facts(&[("a/1", "x")]), true),
            (facts(&[("a/2", "y")]), true),
            (facts(&[("a/1", "x"), ("a/2", "y")]), false),
            (facts(&[]), false),
            (facts(&[("a/2", "z")]), false),
        ] {
            let mut ledger = in_doubt(true);
            let settled = ledger.settle(&there, &Facts::new());
            assert_eq!(settled.is_ok(), right, "{there:?}");
            if right {
                assert!(compare([&ledger], &there).is_ok());
            }
        }
    }

    #[test]
    fn what_a_refused_transaction_let_go_may_be_somebody_elses() {
        let there = facts(&[("a/1", "x"), ("a/2", "z")]);
        // Where a COMMIT cannot be refused that is a row given to two.
        assert!(in_doubt(false)
            .settle(&there, &facts(&[("a/2", "z")]))
            .is_err());
        let mut ledger = in_doubt(true);
        assert!(ledger.settle(&there, &facts(&[("a/2", "w")])).is_err());
        assert!(ledger.settle(&there, &facts(&[("a/2", "z")])).is_ok());
        assert!(!ledger.in_doubt());
        // Half of it is half of it, whoever claims the rest.
        let there = facts(&[("a/2", "z")]);
        assert!(in_doubt(true).settle(&there, &there).is_err());
    }

    #[test]
    fn what_was_acknowledged_is_there_and_nothing_else() {
        let mut ledger = in_doubt(true);
        ledger.refused();
        assert!(compare([&ledger], &facts(&[("a/1", "x")])).is_ok());
        assert!(compare([&ledger], &facts(&[])).is_err());
        assert!(compare([&ledger], &facts(&[("a/1", "y")])).is_err());
        assert!(compare([&ledger], &facts(&[("a/1", "x"), ("b/1", "x")])).is_err());
    }
}
