//! How much a run does.

use crate::entity::Kind;
use crate::socket::Conditions;

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A few minutes a major.
    Quick,
    /// Under an hour a major.
    Full,
}

/// What a run does.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long it may take.
    pub effort: Effort,
    /// Rows of each entity that are there before anything is measured.
    pub rows: u32,
    /// Alternating pairs: an even number, so that each order of the contenders is as frequent.
    pub pairs: usize,
    /// Growth is measured among so many rows too, if that is more than otherwise.
    pub most: u32,
}

impl Config {
    /// The usual configuration of an effort.
    #[must_use]
    pub fn of(effort: Effort) -> Self {
        match effort {
            Effort::Quick => Self {
                effort,
                rows: 50_000,
                pairs: 6,
                most: 0,
            },
            Effort::Full => Self {
                effort,
                rows: 100_000,
                pairs: 10,
                most: 0,
            },
        }
    }

    /// Numbers of rows at which growth is measured; that of all other figures is among them.
    #[must_use]
    pub fn sizes(&self) -> Vec<u32> {
        let mut sizes = match self.effort {
            Effort::Quick => vec![1_000, 10_000, self.rows],
            Effort::Full => vec![1_000, self.rows, 1_000_000],
        };
        if sizes.iter().all(|&rows| rows < self.most) {
            sizes.push(self.most);
        }
        sizes
    }

    /// The conditions of the comparisons over the socket.
    #[must_use]
    pub fn conditions(&self) -> Vec<Conditions> {
        let mut all = Vec::new();
        for synchronous in [false, true] {
            for transaction in [false, true] {
                for connections in [1, 8, 32] {
                    let conditions = Conditions {
                        connections,
                        transaction,
                        synchronous,
                        notify: false,
                    };
                    // What the disk does is worth one look in a short run.
                    let seldom = synchronous && (transaction || connections != 8);
                    if self.effort == Effort::Full || !seldom {
                        all.push(conditions);
                    }
                }
            }
        }
        all
    }

    /// Seconds that adding so many rows of each entity usually takes.
    #[must_use]
    pub fn filling(rows: u32) -> f64 {
        f64::from(rows) * 1.1e-4
    }

    /// Seconds that a section usually takes, for the time that is left.
    #[must_use]
    pub fn seconds(&self, section: Section) -> f64 {
        let (quick, full) = match section {
            Section::Backend => (105.0, 240.0),
            Section::Growth => (15.0, 50.0),
            Section::Vectors => (35.0, 75.0),
            Section::Socket => (90.0, 455.0),
            Section::Notify => (8.0, 40.0),
            Section::Upkeep => (8.0, 35.0),
        };
        match self.effort {
            Effort::Quick => quick,
            Effort::Full => full,
        }
    }

    /// The same run where there are HNSW indexes, whose building takes a millisecond a row and
    /// whose vacuuming longer.
    #[must_use]
    pub fn with_vectors(self) -> Self {
        let (rows, pairs) = match self.effort {
            Effort::Quick => (2_000, 4),
            Effort::Full => (10_000, self.pairs),
        };
        Self {
            rows,
            pairs,
            ..self
        }
    }

    /// Calls in one statement, among so many rows: enough to last well above the time of a round
    /// trip.
    #[must_use]
    pub fn calls(&self, kind: Kind, rows: u32) -> u32 {
        let (quick, full) = match kind {
            Kind::Get | Kind::GetNear => (4_000, 10_000),
            Kind::List => (100, 300),
            Kind::Many => (20, 50),
            // Two slots each in the server's lock table.
            Kind::Lock => (1_000, 2_500),
            Kind::CreateVector | Kind::Search => (100, 200),
            // Each call empties ten places of another inbox of a hundred.
            Kind::Receive => (400.min(rows / 100), 400.min(rows / 100)),
            _ => (1_500, 4_000),
        };
        match self.effort {
            Effort::Quick => quick,
            Effort::Full => full,
        }
    }
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Section {
    /// Cost inside a backend.
    Backend,
    /// Cost by number of rows.
    Growth,
    /// What vectors cost, in a database with HNSW indexes.
    Vectors,
    /// Latency over the socket.
    Socket,
    /// What announcements cost.
    Notify,
    /// What many updates leave behind.
    Upkeep,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Backend,
        Self::Growth,
        Self::Vectors,
        Self::Socket,
        Self::Notify,
        Self::Upkeep,
    ];
}
