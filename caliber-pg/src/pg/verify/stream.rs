//! The entries of an index in the order of the table's pages.

use super::pairs::{self, Pairs, Place};

/// Stands for every offset of a page: a bitmap that ran out of memory.
pub(super) const WHOLE_PAGE: u16 = u16::MAX;

/// What an index holds for one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    offset: u16,
    /// How many entries there are.
    pub(super) entries: u32,
    /// The image of the (first) entry's values, or where the entry is.
    pub(super) image: i64,
    /// Whether a search for the entry's values finds it.
    pub(super) found: bool,
}

/// An entry that was met when the whole index was read.
pub(super) fn met(image: i64) -> i64 {
    image << 1
}

/// An entry that a search for its values found.
pub(super) const FOUND: i64 = 1;

/// Entries, sorted by the row that they point at; read page by page.
#[derive(Debug)]
pub(super) struct Stream {
    pairs: Pairs,
    ahead: Option<(Place, i64)>,
    page: Page,
}

/// The entries for the rows of one page.
#[derive(Debug, Default)]
struct Page {
    entries: Vec<Entry>,
    /// Every row of the page may have an entry: no more is known.
    whole: bool,
}

impl Page {
    fn note(&mut self, offset: u16, what: i64) {
        if offset == WHOLE_PAGE {
            self.whole = true;
            return;
        }
        if self.entries.last().is_none_or(|last| last.offset != offset) {
            self.entries.push(Entry {
                offset,
                ..Entry::default()
            });
        }
        // Pairs come in order: those of one row are together.
        if let Some(entry) = self.entries.last_mut() {
            if what == FOUND {
                entry.found = true;
            } else {
                entry.entries += 1;
                entry.image = what >> 1;
            }
        }
    }

    fn at(&self, offset: u16) -> Entry {
        self.entries
            .binary_search_by_key(&offset, |entry| entry.offset)
            .map_or(Entry::default(), |i| self.entries[i])
    }
}

impl Stream {
    /// Of pairs of a row's place and what [`met`] or [`FOUND`] says.
    pub(super) fn new(mut pairs: Pairs) -> Self {
        pairs.sort();
        let ahead = pairs.next();
        Self {
            pairs,
            ahead,
            page: Page::default(),
        }
    }

    /// Goes on to a page behind the last one.
    pub(super) fn turn_to(&mut self, block: u32) {
        self.page.entries.clear();
        self.page.whole = false;
        while let Some((place, what)) = self.ahead {
            if pairs::block(place) > block {
                break;
            }
            if pairs::block(place) == block {
                self.page.note(pairs::offset(place), what);
            }
            self.ahead = self.pairs.next();
            pgrx::check_for_interrupts!();
        }
    }

    /// What the index holds for the row at this offset of the page.
    pub(super) fn at(&self, offset: u16) -> Entry {
        self.page.at(offset)
    }

    /// Is it unknown which rows of this page have entries?
    pub(super) fn blurred(&self) -> bool {
        self.page.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_row_are_counted_together() {
        let mut page = Page::default();
        for (offset, what) in [(2, FOUND), (2, met(7)), (5, met(8)), (5, met(9))] {
            page.note(offset, what);
        }
        let two = page.at(2);
        assert_eq!((two.entries, two.image, two.found), (1, 7, true));
        let five = page.at(5);
        assert_eq!((five.entries, five.found), (2, false));
        assert_eq!(page.at(3), Entry::default());
        assert!(!page.whole);
        page.note(WHOLE_PAGE, met(0));
        assert!(page.whole);
    }
}
