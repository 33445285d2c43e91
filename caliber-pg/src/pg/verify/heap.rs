//! One table against its constraints and all of its indexes.

use super::bitmap::BitmapScan;
use super::btree;
use super::constraints::{Constraints, Executor};
use super::fetch::Fetch;
use super::findings::{Findings, Place};
use super::hnsw;
use super::index::{Examined, Method, Values};
use super::keys::Keys;
use super::pairs::{self, Pairs};
use super::rights::as_owner;
use super::scan::TableScan;
use super::sought::Sought;
use super::stream::Stream;
use super::subject::Subject;
use crate::pg::memory::scratch;
use pgrx::pg_sys::{self, Oid};

const NO_ENTRY: &str = "the index has no entry for the row";
const SEVERAL: &str = "the index has more than one entry for the row";
const OTHER_VALUES: &str = "the index's entry for the row has other values than the row";
const LEFT_OUT: &str = "the index has an entry for a row that it should leave out";
const NOT_FOUND: &str = "a search of the index for the row's values does not find the row";
const OUT_OF_ORDER: &str = "the index's entry for the row is out of order";
const SHARED_KEY: &str = "another row has the same unique key";
const NO_ROOT: &str = "no index can lead to the row: its update chain has no beginning";

/// An index with what is known of it.
struct Work {
    index: Examined,
    /// Its entries, if they can be read in full.
    entries: Option<Stream>,
    /// For HNSW: how vectors are stored.
    vectors: Option<hnsw::Format>,
    /// The values of all rows, if they must be searched for.
    sought: Option<Sought>,
    /// The keys of all rows, if they must be unique.
    keys: Option<Keys>,
}

/// Checks every row of a table that the active snapshot sees, against NOT NULL,
/// CHECKs, unique keys and the entries of `indexes`; and of these what does not
/// depend on rows. The rows of tables that are not heap tables are not looked for
/// in indexes.
pub fn examine(subject: &Subject, number: usize, indexes: &[Oid], findings: &mut Findings) {
    scratch(|| {
        as_owner(subject, || {
            let executor = Executor::new();
            let indexes: &[Oid] = if subject.is_heap() { indexes } else { &[] };
            let mut work = prepare(subject, number, indexes, &executor, findings);
            read_table(subject, number, &executor, &mut work, findings);
            let mut fetch = Fetch::new(subject);
            for one in &mut work {
                one.afterwards(subject, number, &executor, &mut fetch, findings);
            }
        });
    });
}

/// Opens the indexes and reads their entries.
fn prepare(
    subject: &Subject,
    number: usize,
    indexes: &[Oid],
    executor: &Executor,
    findings: &mut Findings,
) -> Vec<Work> {
    let open: Vec<Examined> = indexes
        .iter()
        // SAFETY: the executor outlives what is made here.
        .filter_map(|oid| unsafe { Examined::open(subject, *oid, executor.estate) })
        .collect();
    // Two sorts for each index, of which most have one. SAFETY: reads a setting.
    let memory = unsafe { pg_sys::maintenance_work_mem };
    let kilobytes = (memory / (2 * open.len().max(1)) as i32).max(64);
    open.into_iter()
        .map(|index| Work::prepare(index, subject, number, kilobytes, executor, findings))
        .collect()
}

impl Work {
    fn prepare(
        index: Examined,
        subject: &Subject,
        number: usize,
        kilobytes: i32,
        executor: &Executor,
        findings: &mut Findings,
    ) -> Self {
        let place = place(subject, number, &index);
        let mut entries = Pairs::new(kilobytes);
        let mut vectors = None;
        let known = match index.method {
            Method::BTree => {
                let mut fetch = Fetch::new(subject);
                btree::read(&index, &mut entries, &mut |row| {
                    let name = executor.briefly(|| fetch.name(subject, row));
                    findings.add(place, Some(&name), OUT_OF_ORDER);
                });
                true
            }
            Method::Tree => {
                btree::read_all(&index, &mut entries);
                true
            }
            Method::Gin => {
                let mut scan = BitmapScan::begin(&index, 0, kilobytes);
                // SAFETY: no keys, which GIN takes as all rows.
                unsafe { scan.run(&mut []) }.into_entries(&mut entries);
                true
            }
            Method::Hnsw => {
                vectors = hnsw::Format::of(&index);
                if vectors.is_some() {
                    hnsw::read(&index, &mut entries, &mut |block| {
                        let item = format!("page {block}");
                        findings.add(place, Some(&item), "not a page of an HNSW index");
                    });
                }
                vectors.is_some()
            }
            Method::Hash | Method::Brin | Method::Other => false,
        };
        let unique = index.method == Method::BTree && index.is_unique();
        Self {
            entries: known.then(|| Stream::new(entries)),
            vectors,
            sought: Sought::new(&index, kilobytes),
            keys: unique.then(|| Keys::new(&index, kilobytes)).flatten(),
            index,
        }
    }

    /// Compares a row with what the index holds for it.
    ///
    /// # Safety
    /// The scan slot of the executor holds the row, whose chain begins at `root`.
    unsafe fn compare(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        root: pairs::Place,
        executor: &Executor,
    ) -> Option<&'static str> {
        let index = &self.index;
        let mut values = Values::new();
        // SAFETY: the caller's promise, in all of this.
        unsafe {
            let mut wanted = index.wants(executor.econtext);
            if wanted {
                index.values(slot, executor.estate, &mut values);
                if let Some(sought) = &mut self.sought {
                    sought.note(&values, root);
                }
                if let Some(keys) = &mut self.keys {
                    keys.put(&values, root);
                }
                if let Some(vectors) = &self.vectors {
                    wanted = vectors.wants(index, &values);
                }
            }
            let stream = self.entries.as_ref()?;
            let entry = stream.at(pairs::offset(root));
            let several = !matches!(index.method, Method::Tree) && entry.entries > 1;
            if !wanted {
                return (entry.entries > 0).then_some(LEFT_OUT);
            }
            if entry.entries == 0 {
                return (!stream.blurred()).then_some(NO_ENTRY);
            }
            if several {
                return Some(SEVERAL);
            }
            let same = match (&self.vectors, index.method) {
                (Some(vectors), _) => vectors.holds(index, entry.image, &values),
                (None, Method::BTree) => entry.image == index.image(&values),
                _ => true,
            };
            if !same {
                return Some(OTHER_VALUES);
            }
            (index.method == Method::BTree && !entry.found).then_some(NOT_FOUND)
        }
    }

    /// What can be told only once all rows were read.
    fn afterwards(
        &mut self,
        subject: &Subject,
        number: usize,
        executor: &Executor,
        fetch: &mut Fetch,
        findings: &mut Findings,
    ) {
        let index = &self.index;
        let place = place(subject, number, index);
        if let Some(keys) = &mut self.keys {
            // SAFETY: they are this index's.
            unsafe {
                keys.shared(index, &mut |row| {
                    let name = executor.briefly(|| fetch.name(subject, row));
                    findings.add(place, Some(&name), SHARED_KEY);
                });
            }
        }
        if let Some(sought) = &mut self.sought {
            // SAFETY: they are this index's, and reads a setting.
            unsafe {
                let kilobytes = pg_sys::work_mem;
                sought.search(index, executor, kilobytes, &mut |row| {
                    let name = executor.briefly(|| fetch.name(subject, row));
                    findings.add(place, Some(&name), NOT_FOUND);
                });
            }
        }
    }
}

fn place<'a>(subject: &Subject, number: usize, index: &'a Examined) -> Place<'a> {
    Place {
        number,
        relation: subject.oid(),
        index: Some((index.oid(), &index.name)),
    }
}

/// Reads the table once.
fn read_table(
    subject: &Subject,
    number: usize,
    executor: &Executor,
    work: &mut [Work],
    findings: &mut Findings,
) {
    // SAFETY: the executor outlives this.
    let constraints = unsafe { Constraints::compile(subject, executor.estate) };
    let whole = Place {
        number,
        relation: subject.oid(),
        index: None,
    };
    let mut scan = TableScan::begin(subject);
    let mut page = None;
    let mut roots = Roots::new();
    while let Some(slot) = scan.next() {
        // SAFETY: the scan has just stored a row of the table in the slot; the
        // indexes are those of the table.
        unsafe {
            let row = pairs::place(&raw mut (*slot).tts_tid);
            let block = pairs::block(row);
            if subject.is_heap() && page != Some(block) {
                page = Some(block);
                roots.read(slot);
                for one in work.iter_mut() {
                    if let Some(entries) = &mut one.entries {
                        entries.turn_to(block);
                    }
                }
            }
            executor.briefly(|| {
                (*executor.econtext).ecxt_scantuple = slot;
                constraints.broken(slot, executor.econtext, &mut |problem| {
                    findings.add(whole, Some(&subject.name_of(slot)), &problem);
                });
                if work.is_empty() {
                    return;
                }
                let Some(root) = roots.of(pairs::offset(row)) else {
                    findings.add(whole, Some(&subject.name_of(slot)), NO_ROOT);
                    return;
                };
                for one in work.iter_mut() {
                    let root = pairs::at(block, root);
                    if let Some(problem) = one.compare(slot, root, executor) {
                        let place = self::place(subject, number, &one.index);
                        findings.add(place, Some(&subject.name_of(slot)), problem);
                    }
                }
            });
        }
    }
}

/// For each row of a page: where its update chain begins.
struct Roots(Vec<pg_sys::OffsetNumber>);

impl Roots {
    fn new() -> Self {
        // More than MaxHeapTuplesPerPage (htup_details.h) for any page size.
        Self(vec![0; pg_sys::BLCKSZ as usize / 4])
    }

    /// Reads the page of the row in the slot. Its chains stay as they are as long as
    /// the slot or the scan pins it: pruning needs a page for itself.
    ///
    /// # Safety
    /// `slot` holds a row of a heap table, in its page.
    unsafe fn read(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the caller's promise: such a slot pins the row's buffer
        // (BufferHeapTupleTableSlot, tuptable.h). The lock is given back at
        // once; heap_get_root_tuples does not raise.
        unsafe {
            let buffer = (*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer;
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            pg_sys::heap_get_root_tuples(pg_sys::BufferGetPage(buffer), self.0.as_mut_ptr());
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        }
    }

    fn of(&self, offset: u16) -> Option<u16> {
        let root = *self.0.get(usize::from(offset).checked_sub(1)?)?;
        (root != 0).then_some(root)
    }
}
