//! Runs tests on servers: several at once, with progress as they finish, and
//! counts at the end. `cargo test` and `verify run` both come here.

use crate::account;
use crate::closing;
use crate::config::{Config, Major};
use crate::report;
use crate::server::{Flavour, Server, Servers};
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a test works with.
pub struct Context {
    /// The server of this major.
    pub server: Arc<Server>,
    /// The major.
    pub major: Major,
    /// Cases, seed.
    pub config: Config,
}

impl Context {
    /// This major's share of a long list: the majors of a run do all of it between
    /// them, one major alone does all by itself. For what is the same code on each.
    #[must_use]
    pub fn share<T>(&self, items: Vec<T>) -> Vec<T> {
        let majors = &self.config.majors;
        let own = majors.iter().position(|major| *major == self.major);
        let Some(own) = own.filter(|_| !self.config.thorough) else {
            return items;
        };
        let is_own = |(n, _): &(usize, T)| n % majors.len() == own;
        items
            .into_iter()
            .enumerate()
            .filter(is_own)
            .map(|(_, item)| item)
            .collect()
    }
}

/// How a test came out, if it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well; a few words for the progress line.
    Passed(String),
    /// This server cannot show it, for this reason. Listed at the end.
    NotCovered(String),
}

/// A test without words.
pub const PASSED: Outcome = Outcome::Passed(String::new());

type Body = dyn Fn(&Context) -> Result<Outcome> + Send + Sync;

/// A test: runs once on every major; one of those that majors share, on one.
pub struct Test {
    /// Its name, without the major.
    pub name: String,
    /// What it promises; the tag of the requirement document for properties.
    pub promise: String,
    /// The build of the extension that it needs.
    flavour: Flavour,
    /// Its number among those that the majors of a run share.
    shared: Option<usize>,
    /// Whether SQL may take over calls of its desks' heap engine.
    takeovers: bool,
    body: Box<Body>,
}

impl Test {
    /// A test.
    pub fn new(
        name: &str,
        promise: &str,
        body: impl Fn(&Context) -> Result<Outcome> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            promise: promise.to_owned(),
            flavour: Flavour::Release,
            shared: None,
            takeovers: false,
            body: Box::new(body),
        }
    }

    /// The same test, the `number`th of those that the majors of a run do between them,
    /// each a part (as [`Context::share`]).
    #[must_use]
    pub fn shared(self, number: usize) -> Self {
        Self {
            shared: Some(number),
            ..self
        }
    }

    /// The same test, in which SQL takes over calls of the heap engine, or in which it
    /// has none to serve.
    #[must_use]
    pub fn with_takeovers(self) -> Self {
        Self {
            takeovers: true,
            ..self
        }
    }

    /// The same test on a server of the faults build: for wait points.
    #[must_use]
    pub fn with_faults(self) -> Self {
        Self {
            flavour: Flavour::Faults,
            ..self
        }
    }
}

/// Which tests are wanted, as cargo's own harness understands it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Parts of names, or whole names if `exact`. None: all.
    pub wanted: Vec<String>,
    /// Parts of names, or whole names, that are left out.
    pub skipped: Vec<String>,
    /// Whole names.
    pub exact: bool,
}

impl Filter {
    /// Does it leave nothing out?
    fn is_whole(&self) -> bool {
        self.wanted.is_empty() && self.skipped.is_empty()
    }

    fn accepts(&self, name: &str) -> bool {
        let hit = |part: &String| {
            if self.exact {
                name == part
            } else {
                name.contains(part.as_str())
            }
        };
        (self.wanted.is_empty() || self.wanted.iter().any(hit)) && !self.skipped.iter().any(hit)
    }
}

/// How one test on one major came out.
#[derive(Clone, Debug)]
pub struct Report {
    /// `pg15::name`.
    pub name: String,
    /// The major.
    pub major: Major,
    /// What it promises.
    pub promise: String,
    /// How long it took.
    pub time: Duration,
    /// The outcome, or what is wrong.
    pub outcome: Result<Outcome, String>,
}

/// How a run came out.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// One report per test and major.
    pub reports: Vec<Report>,
    /// Majors that could not be had, and why.
    pub missing: BTreeMap<Major, String>,
    /// Those of them that `VERIFY_SKIP` names.
    pub skipped: BTreeSet<Major>,
}

impl Summary {
    /// True if nothing failed and every major that was asked for was there, or
    /// named in `VERIFY_SKIP`.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.reports.iter().all(|report| report.outcome.is_ok())
            && self
                .missing
                .keys()
                .all(|major| self.skipped.contains(major))
    }
}

/// The names that a filter selects, in order.
#[must_use]
pub fn names(tests: &[Test], filter: &Filter, config: &Config) -> Vec<String> {
    select(tests, filter, config)
        .into_iter()
        .map(|(_, _, name)| name)
        .collect()
}

fn select<'a>(
    tests: &'a [Test],
    filter: &Filter,
    config: &Config,
) -> Vec<(Major, &'a Test, String)> {
    let mut selected = Vec::new();
    for (place, major) in config.majors.iter().enumerate() {
        let here = |number: usize| config.thorough || number % config.majors.len() == place;
        for test in tests.iter().filter(|test| test.shared.is_none_or(here)) {
            let name = format!("pg{major}::{}", test.name);
            if filter.accepts(&name) {
                selected.push((*major, test, name));
            }
        }
    }
    selected
}

/// Runs the selected tests.
#[must_use]
pub fn run(tests: &[Test], filter: &Filter, config: &Config, servers: &Servers) -> Summary {
    let jobs = select(tests, filter, config);
    let majors: Vec<Major> = config
        .majors
        .iter()
        .copied()
        .filter(|major| jobs.iter().any(|(m, _, _)| m == major))
        .collect();
    println!("servers: {}", servers.provider());
    let list: Vec<String> = majors.iter().map(ToString::to_string).collect();
    println!(
        "{} tests on PostgreSQL {} · {} cases a property · VERIFY_SEED={}",
        jobs.len(),
        list.join(", "),
        config.cases,
        config.seed
    );
    let board = Board {
        began: Instant::now(),
        total: jobs.len(),
        done: AtomicUsize::new(0),
        running: Mutex::new(BTreeMap::new()),
        over: AtomicBool::new(false),
    };
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        // Servers start ahead of the tests that need them.
        scope.spawn(|| {
            for major in &majors {
                if !board.over.load(Ordering::Relaxed) {
                    let _ = servers.get(*major);
                }
            }
            for (major, test, _) in &jobs {
                if test.flavour == Flavour::Faults && !board.over.load(Ordering::Relaxed) {
                    let _ = servers.with_faults(*major);
                }
            }
        });
        scope.spawn(|| board.watch());
        let workers: Vec<_> = (0..config.threads)
            .map(|_| {
                scope.spawn(|| loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((major, test, name)) = jobs.get(number) else {
                        break;
                    };
                    let report = run_one(test, *major, name, config, servers, &board);
                    if let Ok(mut reports) = reports.lock() {
                        reports.push((number, report));
                    }
                })
            })
            .collect();
        for worker in workers {
            let _ = worker.join();
        }
        board.over.store(true, Ordering::Relaxed);
    });
    let mut reports = reports.into_inner().unwrap_or_default();
    reports.sort_by_key(|(number, _)| *number);
    let missing: BTreeMap<Major, String> = majors
        .iter()
        .filter_map(|major| {
            servers
                .get(*major)
                .err()
                .map(|error| (*major, error.to_string()))
        })
        .collect();
    let reports = reports
        .into_iter()
        .map(|(_, report)| report)
        .filter(|report| !missing.contains_key(&report.major))
        .chain(closing::reports(filter.is_whole(), &majors, servers))
        .collect();
    let summary = Summary {
        reports,
        missing,
        skipped: config.skip.clone(),
    };
    let run = report::Run {
        summary: &summary,
        cases: config.cases,
        seed: config.seed,
        time: board.began.elapsed(),
        servers: majors
            .iter()
            .filter_map(|major| Some((*major, servers.get(*major).ok()?.description.clone())))
            .collect(),
    };
    let written = report::write(&run);
    if config.table {
        println!("\n{}", report::table(&summary));
    }
    report::print(&run, &written);
    summary
}

fn run_one(
    test: &Test,
    major: Major,
    name: &str,
    config: &Config,
    servers: &Servers,
    board: &Board,
) -> Report {
    let server = server_for(test, major, servers);
    let began = Instant::now();
    board.start(name);
    let outcome = match server {
        Ok(Ok(server)) => {
            let context = Context {
                server,
                major,
                config: config.clone(),
            };
            guarded(test, &context)
        }
        Ok(Err(why)) => Ok(Outcome::NotCovered(why)),
        Err(why) => Err(why),
    };
    let time = began.elapsed();
    board.finish(name, &outcome, time);
    Report {
        name: name.to_owned(),
        major,
        promise: test.promise.clone(),
        time,
        outcome,
    }
}

/// The server that a test runs on, or why there is none.
///
/// # Errors
/// When the faults build cannot be had though the provider makes such.
fn server_for(
    test: &Test,
    major: Major,
    servers: &Servers,
) -> Result<Result<Arc<Server>, String>, String> {
    let missing = format!("no PostgreSQL {major}");
    if test.flavour == Flavour::Release {
        return Ok(servers.get(major).map_err(|_| missing));
    }
    match servers.with_faults(major) {
        Ok(Some(server)) => Ok(Ok(server)),
        Ok(None) => Ok(Err(format!(
            "{} gives no server of the faults build beside another",
            servers.provider()
        ))),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Runs groups of tests on one server without a word, several groups at once.
/// Of each group the first that fails is the last.
#[must_use]
pub fn run_quietly(
    groups: &[Vec<&Test>],
    context: &Context,
) -> Vec<(String, Result<Outcome, String>)> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..context.config.threads {
            scope.spawn(|| loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(group) = groups.get(number) else {
                    break;
                };
                for test in group {
                    let outcome = guarded(test, context);
                    let failed = outcome.is_err();
                    if let Ok(mut results) = results.lock() {
                        results.push((number, test.name.clone(), outcome));
                    }
                    if failed {
                        break;
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(number, _, _)| *number);
    results
        .into_iter()
        .map(|(_, name, outcome)| (name, outcome))
        .collect()
}

/// A test's own mistakes (a panic, as insta's) are failures like any other.
fn guarded(test: &Test, context: &Context) -> Result<Outcome, String> {
    let result = catch_unwind(AssertUnwindSafe(|| (test.body)(context)));
    let settled = account::settle(test.takeovers);
    match result {
        // What cannot be shown here has no calls to account for.
        Ok(Ok(outcome @ Outcome::NotCovered(_))) => Ok(outcome),
        Ok(Ok(outcome)) => settled.map(|()| outcome),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(panic) => Err(words_of(panic.as_ref())),
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
        .unwrap_or_else(|| "a panic without words".to_owned())
}

/// What is going on, for whoever watches.
struct Board {
    began: Instant,
    total: usize,
    done: AtomicUsize,
    running: Mutex<BTreeMap<String, Instant>>,
    over: AtomicBool,
}

impl Board {
    fn start(&self, name: &str) {
        if let Ok(mut running) = self.running.lock() {
            running.insert(name.to_owned(), Instant::now());
        }
    }

    fn finish(&self, name: &str, outcome: &Result<Outcome, String>, time: Duration) {
        if let Ok(mut running) = self.running.lock() {
            running.remove(name);
        }
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let (verdict, words) = match outcome {
            Ok(Outcome::Passed(words)) => ("ok", words.clone()),
            Ok(Outcome::NotCovered(why)) => ("not covered", why.clone()),
            Err(why) => ("FAILED", why.lines().next().unwrap_or_default().to_owned()),
        };
        println!(
            "[{done:>3}/{}] {name} … {verdict} ({:.1} s) {words}",
            self.total,
            time.as_secs_f64()
        );
    }

    /// Says every now and then what takes long.
    fn watch(&self) {
        let mut next = Duration::from_secs(20);
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
            if self.began.elapsed() < next {
                continue;
            }
            next += Duration::from_secs(20);
            let Ok(running) = self.running.lock() else {
                continue;
            };
            let slow: Vec<String> = running
                .iter()
                .filter(|(_, since)| since.elapsed() > Duration::from_secs(15))
                .map(|(name, since)| format!("{name} ({:.0} s)", since.elapsed().as_secs_f64()))
                .collect();
            if !slow.is_empty() {
                println!(
                    "   … {:.0} s, still running: {}",
                    self.began.elapsed().as_secs_f64(),
                    slow.join(", ")
                );
            }
        }
    }
}
