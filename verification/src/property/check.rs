//! Runs a property: committed regressions first, then generated cases; on
//! failure shrinks and keeps the smallest plan.

use super::Property;
use crate::config::workspace;
use crate::entity::Entity;
use crate::judge::{execute, Bench, Mismatch, Stats};
use crate::plan::Plan;
use anyhow::{anyhow, Context, Result};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How a property came out.
#[derive(Debug)]
pub enum Checked {
    /// All cases agree.
    Held {
        /// Cases that ran, regressions included.
        cases: u32,
        /// Calls that returned, calls that raised, and amcheck's looks.
        stats: Stats,
    },
    /// The smallest case found at which they do not.
    Broken {
        /// The shrunk plan.
        plan: Box<Plan>,
        /// What is wrong with it.
        mismatch: Box<Mismatch>,
    },
}

/// How long shrinking may take, in milliseconds.
const SHRINK_TIME: u32 = 15_000;

/// Checks a property of an entity on a bench.
///
/// # Errors
/// When the server cannot be used, not when the property is broken.
pub fn check(
    bench: &mut Bench,
    property: &Property,
    entity: &'static dyn Entity,
    cases: u32,
    seed: u64,
    shrink: bool,
) -> Result<Checked> {
    let mut total = Stats::default();
    let mut ran = 0;
    for (_, plan) in regressions(property.name, entity.table().entity)? {
        match once(bench, &plan)? {
            Ok(stats) => add(&mut total, stats),
            Err(mismatch) => {
                return Ok(Checked::Broken {
                    plan: Box::new(plan),
                    mismatch,
                })
            }
        }
        ran += 1;
    }
    let config = Config {
        cases,
        max_shrink_time: SHRINK_TIME,
        max_shrink_iters: if shrink { 4_000 } else { 0 },
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(
        RngAlgorithm::ChaCha,
        &seed_bytes(seed, property.name, entity.table().entity),
    );
    let mut runner = TestRunner::new_with_rng(config, rng);
    let state = RefCell::new((bench, total, ran, None));
    let result = runner.run(&property.plans(entity), |plan| {
        let (bench, total, ran, broken) = &mut *state.borrow_mut();
        match once(bench, &plan) {
            Ok(Ok(stats)) => {
                add(total, stats);
                *ran += 1;
                Ok(())
            }
            Ok(Err(mismatch)) => {
                let why = mismatch.why.clone();
                *broken = Some((plan, mismatch));
                Err(TestCaseError::fail(why))
            }
            Err(error) => Err(TestCaseError::fail(format!("{error:#}"))),
        }
    });
    let (bench, total, ran, _) = state.into_inner();
    match result {
        Ok(()) => Ok(Checked::Held {
            cases: ran,
            stats: total,
        }),
        Err(TestError::Fail(why, plan)) => match once(bench, &plan)? {
            Err(mismatch) if shrink => {
                let (plan, mismatch) = fewer_steps(bench, plan, mismatch)?;
                Ok(Checked::Broken {
                    plan: Box::new(plan),
                    mismatch,
                })
            }
            Err(mismatch) => Ok(Checked::Broken {
                plan: Box::new(plan),
                mismatch,
            }),
            Ok(_) => Err(anyhow!(
                "a case failed once ({why}) and passed when it was run again: {plan:?}"
            )),
        },
        Err(TestError::Abort(why)) => Err(anyhow!("the generator gave up: {why}")),
    }
}

/// Leaves out one step after the other for as long as the same thing goes
/// wrong. A generator's own structure (setup, frame, a call and its get) does
/// not bind this.
fn fewer_steps(
    bench: &mut Bench,
    plan: Plan,
    mismatch: Box<Mismatch>,
) -> Result<(Plan, Box<Mismatch>)> {
    let (mut plan, mut mismatch) = (plan, mismatch);
    plan.steps.truncate(mismatch.step + 1);
    let until = Instant::now() + Duration::from_millis(u64::from(SHRINK_TIME));
    let mut number = plan.steps.len();
    while number > 0 && Instant::now() < until {
        number -= 1;
        let mut smaller = plan.clone();
        smaller.steps.remove(number);
        if let Err(found) = once(bench, &smaller)? {
            if found.why == mismatch.why {
                (plan, mismatch) = (smaller, found);
            }
        }
    }
    Ok((plan, mismatch))
}

/// Carries out one plan and puts the bench back.
fn once(bench: &mut Bench, plan: &Plan) -> Result<Result<Stats, Box<Mismatch>>> {
    match execute(bench, plan) {
        Ok(stats) => {
            bench.reset(false, stats.committed)?;
            Ok(Ok(stats))
        }
        Err(mismatch) => {
            bench
                .reset(true, true)
                .with_context(|| format!("after this:\n{mismatch}"))?;
            Ok(Err(mismatch))
        }
    }
}

fn add(total: &mut Stats, stats: Stats) {
    total.calls += stats.calls;
    total.errors += stats.errors;
    total.amchecks += stats.amchecks;
}

/// The generator's own seed: the run's, mixed with what is checked.
fn seed_bytes(seed: u64, property: &str, entity: &str) -> [u8; 32] {
    let mut bytes = [0u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    // FNV-1a over the names, so that each property has cases of its own.
    let hash = property
        .bytes()
        .chain([0])
        .chain(entity.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    bytes[8..16].copy_from_slice(&hash.to_le_bytes());
    bytes
}

/// Plans that failed once and were committed, with their file names: values,
/// so that they survive any change of the generators.
///
/// # Errors
/// When a file cannot be read.
pub fn regressions(property: &str, entity: &str) -> Result<Vec<(String, Plan)>> {
    let directory = workspace().join("verification/regressions");
    let mut plans = Vec::new();
    let Ok(entries) = std::fs::read_dir(&directory) else {
        return Ok(plans);
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let stored: crate::failure::Stored =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        if stored.plan.property == property && stored.plan.entity == entity {
            plans.push((
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                stored.plan,
            ));
        }
    }
    plans.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(plans)
}
