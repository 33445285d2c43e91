//! Which of the rows of one INSERT were written, from the keys that came back.

use uuid::Uuid;

/// For each of `given`, whether it was written: `returned` are the keys of the
/// written rows as stored, in the order given. Some rows may be left out, and a
/// trigger may have changed the key of others; None where both came together, so
/// that nobody can tell which is which. (A row moved onto the key of a later one that is
/// left out is taken for that one.)
pub(super) fn written(given: &[Option<Uuid>], returned: &[Option<Uuid>]) -> Option<Vec<bool>> {
    if returned.len() == given.len() {
        return Some(vec![true; given.len()]);
    }
    let mut written = vec![false; given.len()];
    // The first row, and the first returned key, that are not accounted for.
    let (mut row, mut key) = (0, 0);
    for (k, id) in returned.iter().enumerate() {
        let Some(found) = given[row..].iter().position(|other| other == id) else {
            continue;
        };
        settle(&mut written[row..row + found], k - key)?;
        written[row + found] = true;
        (row, key) = (row + found + 1, k + 1);
    }
    settle(&mut written[row..], returned.len() - key)?;
    Some(written)
}

/// Rows in a row of which `count` came back under other keys: all or none.
fn settle(rows: &mut [bool], count: usize) -> Option<()> {
    if count == rows.len() {
        rows.fill(true);
        return Some(());
    }
    (count == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::written;
    use uuid::Uuid;

    fn ids(numbers: &[u128]) -> Vec<Option<Uuid>> {
        numbers.iter().map(|&n| Some(Uuid::from_u128(n))).collect()
    }

    fn told(given: &[u128], returned: &[u128]) -> Option<String> {
        let written = written(&ids(given), &ids(returned))?;
        Some(written.iter().map(|&w| if w { 'x' } else { '-' }).collect())
    }

    #[test]
    fn rows_are_told_by_their_keys() {
        assert_eq!(told(&[1, 2, 3], &[1, 2, 3]).as_deref(), Some("xxx"));
        assert_eq!(told(&[1, 2, 3], &[1, 3]).as_deref(), Some("x-x"));
        assert_eq!(told(&[1, 2, 3], &[]).as_deref(), Some("---"));
        assert_eq!(told(&[], &[]).as_deref(), Some(""));
        // The same id twice: the second was there by then.
        assert_eq!(told(&[1, 1, 2], &[1, 2]).as_deref(), Some("x-x"));
    }

    #[test]
    fn changed_keys_are_told_where_they_can_be() {
        assert_eq!(told(&[1, 2, 3], &[7, 8, 9]).as_deref(), Some("xxx"));
        assert_eq!(told(&[1, 2, 3], &[2, 1, 3]).as_deref(), Some("xxx"));
        assert_eq!(told(&[1, 2, 3, 4], &[2, 7, 8]).as_deref(), Some("-xxx"));
        assert_eq!(told(&[1, 2, 3, 4], &[7, 2, 4]).as_deref(), Some("xx-x"));
    }

    #[test]
    fn what_nobody_can_tell_is_not_guessed() {
        assert_eq!(told(&[1, 2], &[7]), None);
        assert_eq!(told(&[1, 2, 3, 4], &[1, 7, 4]), None);
        assert_eq!(told(&[1], &[1, 7]), None);
    }
}
