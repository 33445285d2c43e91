//! New ids: uuid version 7 of this moment, ascending within a backend, and as
//! random as PostgreSQL's own source of randomness: none is made twice, and none
//! tells the next.

use super::desk;
use crate::judge::Engine;
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use anyhow::{ensure, Context as _, Result};
use std::collections::HashSet;
use uuid::{Uuid, Variant};

/// All tests.
#[must_use]
pub fn tests() -> Vec<Test> {
    vec![Test::new(
        "ids::random",
        "ids are of this moment, ascend within a backend, and nothing in them comes twice",
        random,
    )]
}

/// Ids of one backend: what it fetches of randomness at a time is used up many times over.
const IDS: usize = 5000;
const SESSIONS: usize = 4;

/// The 74 bits behind the milliseconds, as one number (RFC 9562, 5.7).
fn tail(id: Uuid) -> u128 {
    let bits = id.as_u128();
    (bits >> 64 & 0xfff) << 62 | bits & ((1 << 62) - 1)
}

fn millis(id: Uuid) -> u128 {
    id.as_u128() >> 80
}

fn new_ids(session: &mut Session) -> Result<Vec<Uuid>> {
    let reply = session.query(&format!(
        "SELECT caliber_new_id() FROM generate_series(1, {IDS})"
    ))?;
    let texts = reply.column().into_iter().flatten();
    let ids: Result<Vec<Uuid>, _> = texts.map(|text| Uuid::parse_str(&text)).collect();
    Ok(ids?)
}

/// Milliseconds since 1970 on the server.
fn now(session: &mut Session) -> Result<u128> {
    let now = session.value("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")?;
    now.and_then(|now| now.parse().ok()).context("the time")
}

fn random(context: &Context) -> Result<Outcome> {
    // No engine has a part in it.
    let desk = desk::open(context, &[Engine::Client], "")?
        .pop()
        .context("a desk")?;
    let mut all = HashSet::new();
    // What an id has that follows another in its millisecond, beyond that one; and the tail of
    // the first of each millisecond.
    let (mut steps, mut firsts) = (Vec::new(), Vec::new());
    for _ in 0..SESSIONS {
        let mut session = desk.another()?;
        let before = now(&mut session)?;
        let ids = new_ids(&mut session)?;
        let after = now(&mut session)?;
        ensure!(ids.len() == IDS, "{} ids", ids.len());
        firsts.extend(ids.first().map(|&id| tail(id)));
        for two in ids.windows(2) {
            let &[one, next] = two else { continue };
            ensure!(one < next, "{next} after {one}");
            match millis(next) - millis(one) {
                0 => steps.push(tail(next) - tail(one)),
                _ => firsts.push(tail(next)),
            }
        }
        for &id in &ids {
            ensure!(id.get_version_num() == 7, "{id}");
            ensure!(id.get_variant() == Variant::RFC4122, "{id}");
            // A clock is read in microseconds, rounded here.
            ensure!(
                (before - 1..=after + 1).contains(&millis(id)),
                "{id}: {before} to {after}"
            );
        }
        all.extend(ids);
    }
    ensure!(all.len() == SESSIONS * IDS, "{} different ids", all.len());
    // Of 2^32 steps, 20,000 have none in common with a probability of 95 %, and more than five
    // pairs with one of one in a billion.
    let different = steps.iter().collect::<HashSet<_>>().len();
    ensure!(
        steps.len() - different <= 5,
        "{different} different steps of {}",
        steps.len()
    );
    ensure!(steps.len() > IDS, "{} steps", steps.len());
    let others = firsts.iter().collect::<HashSet<_>>().len();
    ensure!(
        others == firsts.len(),
        "{others} different tails of {}",
        firsts.len()
    );
    // Each bit of a step is set in half of them: 20,000 throws differ by 6 % of all from that
    // never (15 standard deviations).
    for bit in 0..32 {
        let set = steps.iter().filter(|&step| (step - 1) >> bit & 1 == 1);
        let share = set.count() as f64 / steps.len() as f64;
        ensure!((0.44..0.56).contains(&share), "bit {bit} is set in {share}");
    }
    Ok(Outcome::Passed(format!(
        "{} ids, {} steps, {} milliseconds",
        all.len(),
        steps.len(),
        firsts.len()
    )))
}
