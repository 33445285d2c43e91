//! Which engine did the work: a session of the heap engine whose calls SQL has
//! taken over gives the client's answers too, so that no comparison would notice.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What the sessions of one desk of the heap engine have counted when they ended.
#[derive(Debug, Default)]
struct Counted {
    /// Calls that the heap engine served.
    served: i64,
    /// Calls that SQL took over, by cause.
    taken: BTreeMap<String, i64>,
    /// A session could not be asked: the connection or the function was gone.
    unanswered: bool,
}

/// The account of a desk, to which its sessions add.
#[derive(Clone, Debug, Default)]
pub struct Account(Arc<Mutex<Counted>>);

thread_local! {
    /// Accounts of the test that runs on this thread.
    static OPEN: RefCell<Vec<Account>> = const { RefCell::new(Vec::new()) };
}

impl Account {
    /// A new account of the test on this thread.
    #[must_use]
    pub fn open() -> Self {
        let account = Self::default();
        OPEN.with_borrow_mut(|open| open.push(account.clone()));
        account
    }

    /// Adds what a session counted; nothing, if it could not be asked.
    pub(crate) fn add(&self, counters: &[(String, i64)]) {
        let Ok(mut counted) = self.0.lock() else {
            return;
        };
        counted.unanswered |= counters.is_empty();
        for (name, value) in counters {
            if name == "calls.heap" {
                counted.served += value;
            }
            if name.starts_with("takeover.") && *value != 0 {
                *counted.taken.entry(name.clone()).or_default() += value;
            }
        }
    }
}

/// Ends the accounts of this thread: of each desk, SQL took nothing over, and the
/// heap engine served a call. With `taken_over`, nothing is asked of them.
///
/// # Errors
/// Saying what was counted.
pub(crate) fn settle(taken_over: bool) -> Result<(), String> {
    let accounts = OPEN.with_borrow_mut(std::mem::take);
    if taken_over {
        return Ok(());
    }
    for (number, account) in accounts.iter().enumerate() {
        let Ok(counted) = account.0.lock() else {
            continue;
        };
        if !counted.taken.is_empty() || counted.served == 0 && !counted.unanswered {
            return Err(format!(
                "the heap engine did not do the work of desk {number}: it served {} calls, SQL took over {:?}",
                counted.served, counted.taken
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(counters: &[(&str, i64)]) -> Result<(), String> {
        let counters: Vec<(String, i64)> = counters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        Account::open().add(&counters);
        settle(false)
    }

    #[test]
    fn a_takeover_shows() {
        assert!(settled(&[("calls.heap", 2), ("takeover.rule", 0)]).is_ok());
        assert!(settled(&[("calls.heap", 2), ("takeover.rule", 1)]).is_err());
        assert!(settled(&[("calls.heap", 0), ("takeover.rule", 0)]).is_err());
        assert!(settled(&[]).is_ok(), "a session that is gone says nothing");
    }
}
