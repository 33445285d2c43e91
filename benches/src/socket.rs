//! Over the socket: our function and the client's own statement, both prepared, at several
//! numbers of connections, in alternating slices of time.

use crate::bar::{judge, Verdict};
use crate::config::{Config, Effort};
use crate::entity::{self, Entity, Kind, Operation};
use crate::rival;
use crate::stats::{ratio, Figure};
use crate::wire::{Values, Wire};
use crate::world::{self, SCATTER};
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;
use std::time::{Duration, Instant};
use verification::session::{Session, Target};

/// Calls between BEGIN and COMMIT.
const CALLS: usize = 20;
/// Argument rows of one connection.
const ARGUMENTS: u32 = 1_000;

/// How a connection does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// `SELECT caliber_…($1, …)`, prepared.
    Function,
    /// The equivalent statement, prepared.
    Client,
    /// Our function by the function-call message of the protocol.
    Message,
}

/// The conditions of a comparison.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Conditions {
    /// Connections at once.
    pub connections: usize,
    /// In transactions of 20 calls, or each its own.
    pub transaction: bool,
    /// `synchronous_commit`.
    pub synchronous: bool,
    /// `caliber.notify`, and pg_notify in the client's statement.
    pub notify: bool,
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = match self.connections {
            1 => "1 connection".to_owned(),
            n => format!("{n} connections"),
        };
        let transaction = if self.transaction {
            "transactions of 20"
        } else {
            "autocommit"
        };
        write!(
            f,
            "{connections}, {transaction}, synchronous_commit {}",
            on(self.synchronous)
        )
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Function => "prepared SELECT",
            Self::Client => "prepared statement",
            Self::Message => "function-call message",
        })
    }
}

/// What was measured of a path.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Microseconds: median, 95th, 99th percentile of all slices together.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Calls a second, median of the slices.
    pub throughput: f64,
    /// Its spread as a share of it.
    pub throughput_spread: f64,
    /// The distribution: microseconds at each of a hundred and one percentiles.
    pub curve: Vec<f64>,
}

/// A comparison of two paths.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// Entity and operation.
    pub what: String,
    /// Foreign keys of a new row that are not NULL.
    pub foreign_keys: u32,
    /// Conditions.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// Our path.
    pub path: Path,
    /// Ours.
    pub ours: Latency,
    /// The client's own statement.
    pub client: Latency,
    /// Rows of each entity at the start.
    pub rows: u32,
    /// Fillfactor of the table.
    pub fillfactor: u32,
    /// Slices of each.
    pub pairs: usize,
    /// Milliseconds of a slice.
    pub slice: u32,
    /// Ours as a share of the client's: p50, p95, p99 of the calls, and time a call (the inverse
    /// of throughput), which alone holds the COMMIT of transactions.
    pub ratios: [Judged; 4],
}

/// A ratio and what came of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Judged {
    /// Ratio.
    pub ratio: Figure,
    /// The share that is allowed.
    pub allowed: Option<f64>,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// A second crew of clients against the first: the noise of this very figure.
    pub control: Figure,
}

/// Names of the four ratios.
pub const RATIOS: [&str; 4] = ["p50", "p95", "p99", "time a call"];

/// The operations that are measured: a read, a list, both kinds of updates, a row with one
/// foreign key and one with four. The others differ from these in what the backend does, not in
/// what the socket adds.
#[must_use]
pub fn operations() -> Vec<(&'static Entity, &'static Operation)> {
    let wanted = [
        ("caliber_trajectory_get", Kind::Get),
        ("caliber_scope_list_by_trajectory", Kind::List),
        ("caliber_scope_update_tokens", Kind::Hot),
        ("caliber_trajectory_update", Kind::Update),
        ("caliber_scope_create", Kind::Create),
        ("caliber_message_send", Kind::Create),
    ];
    let all = entity::operations().into_iter();
    all.filter(|(_, o)| wanted.contains(&(o.function, o.kind)))
        .collect()
}

/// Connections with everything prepared, for both paths of one comparison.
struct Crew<'a> {
    workers: Vec<Worker>,
    operation: &'a Operation,
    transaction: bool,
}

struct Worker {
    wire: Wire,
    values: Vec<Values>,
    next: usize,
    path: Path,
    function: u32,
}

/// What a slice of time gave.
struct Slice {
    latencies: Histogram<u64>,
    throughput: f64,
}

/// Compares one of our paths with the client's statement.
///
/// # Errors
/// When a connection or a statement fails.
pub fn compare(
    target: &Target,
    session: &mut Session,
    (entity, operation): (&'static Entity, &'static Operation),
    path: Path,
    conditions: Conditions,
    config: &Config,
) -> Result<Compared> {
    let (pairs, slice) = match config.effort {
        Effort::Quick => (3, Duration::from_millis(100)),
        Effort::Full => (config.pairs, Duration::from_millis(150)),
    };
    let mut crew = |path| Crew::new(target, session, entity, operation, path, conditions, config);
    let mut crews = [crew(Path::Client)?, crew(path)?, crew(Path::Client)?];
    let mut slices = [const { Vec::new() }; 3];
    for pair in 0..=pairs {
        // The first warms caches and plans; who goes first changes.
        let order = if pair % 2 == 0 { [0, 1, 2] } else { [2, 1, 0] };
        for i in order {
            let done = crews[i].slice(slice)?;
            if pair > 0 {
                slices[i].push(done);
            }
        }
    }
    drop(crews);
    tidy(session, entity, operation, config)?;
    let [first, ours, second] = &slices;
    let ratios = evaluate(operation, conditions, ours, [first, second]);
    Ok(Compared {
        what: match path {
            Path::Message => format!("{} {} by {path}", entity.name, operation.label()),
            _ => format!("{} {}", entity.name, operation.label()),
        },
        foreign_keys: operation.foreign_keys,
        conditions,
        path,
        ours: latency(ours.iter())?,
        client: latency(first.iter().chain(second))?,
        rows: config.rows,
        fillfactor: world::fillfactor(session, entity.table)?,
        pairs: ours.len(),
        slice: u32::try_from(slice.as_millis())?,
        ratios,
    })
}

/// Removes what was written, so that every comparison starts among as many rows.
fn tidy(
    session: &mut Session,
    entity: &Entity,
    operation: &Operation,
    config: &Config,
) -> Result<()> {
    if !operation.kind.writes() {
        return Ok(());
    }
    if operation.makes_id() {
        session.batch(&format!(
            "DELETE FROM {} WHERE {} > bench.{}({})",
            entity.table, entity.key, entity.name, config.rows
        ))?;
    }
    session.batch(&format!("VACUUM (INDEX_CLEANUP ON) {}", entity.table))
}

/// Each figure of ours against that of both crews of clients, which are each other's control.
fn evaluate(
    operation: &Operation,
    conditions: Conditions,
    ours: &[Slice],
    clients: [&[Slice]; 2],
) -> [Judged; 4] {
    let many_keys = operation.foreign_keys >= 3 && conditions.transaction;
    let allowed = if many_keys { 0.85 } else { 1.0 };
    [Some(0.5), Some(0.95), Some(0.99), None].map(|share| {
        let of = |slices: &[Slice]| -> Vec<f64> {
            let value = |slice: &Slice| match share {
                Some(share) => micros(slice.latencies.value_at_quantile(share)),
                None => 1.0 / slice.throughput,
            };
            slices.iter().map(value).collect()
        };
        let [first, second] = clients.map(of);
        let both: Vec<f64> = first
            .iter()
            .zip(&second)
            .map(|(a, b)| (a + b) / 2.0)
            .collect();
        let (figure, control) = (ratio(&of(ours), &both), ratio(&first, &second));
        Judged {
            ratio: figure,
            allowed: Some(allowed),
            verdict: judge(&figure, Some(allowed), control.noise()),
            control,
        }
    })
}

fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

fn latency<'a>(slices: impl Iterator<Item = &'a Slice>) -> Result<Latency> {
    let mut all = histogram()?;
    let mut rates = Vec::new();
    for slice in slices {
        all.add(&slice.latencies)?;
        rates.push(slice.throughput);
    }
    let throughput = Figure::of(rates);
    let at = |share| micros(all.value_at_quantile(share));
    Ok(Latency {
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
        throughput: throughput.median,
        throughput_spread: throughput.relative(),
        curve: (0..=100).map(|i| at(f64::from(i) / 100.0)).collect(),
    })
}

/// To a thousandth of a value.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new(3)?)
}

impl<'a> Crew<'a> {
    fn new(
        target: &Target,
        session: &mut Session,
        entity: &Entity,
        operation: &'a Operation,
        path: Path,
        conditions: Conditions,
        config: &Config,
    ) -> Result<Self> {
        let mut workers = Vec::with_capacity(conditions.connections);
        let oid = session.value(&format!("SELECT '{}'::regproc::oid", operation.function))?;
        let function = oid.and_then(|text| text.parse().ok()).unwrap_or(0);
        let types = types(session, operation, path)?;
        for i in 0..conditions.connections {
            let mut wire = Wire::connect(target)?;
            wire.run(&format!(
                "SET synchronous_commit = {}; SET caliber.notify = {}",
                on(conditions.synchronous),
                on(conditions.notify)
            ))?;
            wire.prepare(
                "work",
                &statement(entity, operation, path, conditions.notify),
                &types,
            )?;
            let values = arguments(session, operation, i, config.rows)?;
            workers.push(Worker {
                wire,
                values,
                next: 0,
                path,
                function,
            });
        }
        Ok(Self {
            workers,
            operation,
            transaction: conditions.transaction,
        })
    }

    /// All connections work for so long.
    fn slice(&mut self, time: Duration) -> Result<Slice> {
        let (operation, transaction) = (self.operation, self.transaction);
        let started = Instant::now();
        let until = started + time;
        let results: Vec<Result<Histogram<u64>>> = std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .workers
                .iter_mut()
                .map(|worker| scope.spawn(move || worker.work(operation, transaction, until)))
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(anyhow::anyhow!("a connection's thread died")))
                })
                .collect()
        });
        let passed = started.elapsed();
        let mut latencies = histogram()?;
        for result in results {
            latencies.add(&result?)?;
        }
        let throughput = latencies.len() as f64 / passed.as_secs_f64();
        Ok(Slice {
            latencies,
            throughput,
        })
    }
}

impl Worker {
    fn work(
        &mut self,
        operation: &Operation,
        transaction: bool,
        until: Instant,
    ) -> Result<Histogram<u64>> {
        let mut latencies = histogram()?;
        while Instant::now() < until {
            if transaction {
                self.wire.run("BEGIN")?;
            }
            for _ in 0..if transaction { CALLS } else { 1 } {
                let values = self.values();
                let values = match (self.path, operation.makes_id()) {
                    // A client makes its ids itself.
                    (Path::Client, true) => {
                        let id = Some(uuid::Uuid::now_v7().to_string());
                        std::iter::once(id).chain(values).collect()
                    }
                    _ => values,
                };
                let started = Instant::now();
                match self.path {
                    Path::Message => self.wire.call(self.function, &values)?,
                    _ => self.wire.execute("work", &values)?,
                }
                let nanoseconds = started.elapsed().as_nanos();
                latencies.record(u64::try_from(nanoseconds)?)?;
            }
            if transaction {
                self.wire.run("COMMIT")?;
            }
        }
        Ok(latencies)
    }

    fn values(&mut self) -> Values {
        self.next = (self.next + 1) % self.values.len();
        self.values[self.next].clone()
    }
}

fn on(setting: bool) -> &'static str {
    if setting {
        "on"
    } else {
        "off"
    }
}

/// The types of what a connection prepares: the call says its own.
fn types(session: &mut Session, operation: &Operation, path: Path) -> Result<Vec<u32>> {
    if path != Path::Client {
        return Ok(Vec::new());
    }
    let (_, types) = rival::for_client(operation);
    let reply = session.query(&format!(
        "SELECT t::regtype::oid FROM unnest('{{{}}}'::text[]) WITH ORDINALITY u (t, n) ORDER BY n",
        types.join(",")
    ))?;
    let texts = reply.column().into_iter().flatten();
    texts
        .map(|text| text.parse().context("the OID of a type"))
        .collect()
}

/// What a connection prepares.
fn statement(entity: &Entity, operation: &Operation, path: Path, notify: bool) -> String {
    if path == Path::Client {
        let (sql, _) = rival::for_client(operation);
        if !(notify && entity.name == "message") {
            return sql;
        }
        return format!(
            "WITH x AS ({sql} RETURNING message_id, to_agent_id, message_type, priority, from_agent_id)
             SELECT pg_catalog.pg_notify('caliber_agent_' || x.to_agent_id, pg_catalog.json_build_object('message_id', x.message_id,
                 'message_type', x.message_type, 'priority', x.priority, 'from_agent_id', x.from_agent_id)::text) FROM x"
        );
    }
    let parameters: Vec<String> = operation
        .arguments
        .iter()
        .enumerate()
        .map(|(i, argument)| format!("${}::{}", i + 1, argument.1))
        .collect();
    let call = format!("public.{}({})", operation.function, parameters.join(", "));
    if operation.returns_set() || operation.kind == Kind::Get {
        format!("SELECT * FROM {call}")
    } else {
        format!("SELECT {call}")
    }
}

/// Arguments for one connection, of rows that no other connection changes.
fn arguments(
    session: &mut Session,
    operation: &Operation,
    connection: usize,
    rows: u32,
) -> Result<Vec<Values>> {
    let columns: Vec<String> = operation
        .arguments
        .iter()
        .map(|(name, kind, value)| format!("({value})::{kind} AS {name}"))
        .collect();
    let from = connection as u32 * ARGUMENTS;
    let reply = session.query(&format!(
        "SELECT {} FROM (SELECT i AS n, (i::bigint * {SCATTER} % {rows})::int AS r, i % 500 AS h, i % {} AS g
         FROM generate_series({from}, {}) i) x",
        columns.join(", "),
        rows / 100,
        from + ARGUMENTS - 1
    ))?;
    Ok(reply.rows)
}
