//! Criterion's view of the same work: every operation of every entity, by everyone who does
//! it, inside one backend.
//!
//!     cargo bench -p benches -- scope/get
//!
//! `BENCH_PG` chooses the major (15). A sample is whole statements of many calls, scaled to the
//! number of calls that criterion asks for.

use anyhow::Result;
use benches::backend::SESSION;
use benches::config::{Config, Effort};
use benches::entity;
use benches::race::Race;
use benches::server::Server;
use benches::{rival, world};
use criterion::Criterion;
use std::cell::RefCell;
use std::time::Duration;
use verification::config::parse_majors;

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let majors = parse_majors(&std::env::var("BENCH_PG").unwrap_or_else(|_| "15".to_owned()))?;
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1))
        .configure_from_args();
    for major in majors {
        bench(&mut criterion, major)?;
    }
    criterion.final_summary();
    Ok(())
}

fn bench(criterion: &mut Criterion, major: u16) -> Result<()> {
    let config = Config::of(Effort::Quick);
    let server = Server::start(major)?;
    server.fresh()?;
    let mut session = server.connect()?;
    world::prepare(&mut session)?;
    rival::declare(&mut session, &entity::operations())?;
    world::fill(&mut session, &entity::ENTITIES, 0, config.rows)?;
    session.batch(SESSION)?;
    let session = RefCell::new(session);
    for (entity, operation) in entity::operations() {
        let name = format!("{}/{}", entity.name, operation.label());
        // Prepared by the first that is wanted: a filter leaves out most.
        let race: RefCell<Option<Race>> = RefCell::new(None);
        let mut failure = None;
        let mut group = criterion.benchmark_group(format!("pg{major}/{name}"));
        for (i, who) in Race::names(operation.kind) {
            group.bench_function(who, |bencher| {
                bencher.iter_custom(|wanted| {
                    let mut session = session.borrow_mut();
                    let mut race = race.borrow_mut();
                    let mut time = || {
                        let race = match &mut *race {
                            Some(race) => race,
                            none => none.insert(Race::prepare(
                                &mut session,
                                entity,
                                operation,
                                &config,
                            )?),
                        };
                        sample(race, &mut session, i, wanted)
                    };
                    time().unwrap_or_else(|error| {
                        failure.get_or_insert(error);
                        Duration::from_nanos(wanted.max(1))
                    })
                });
            });
        }
        group.finish();
        if let Some(error) = failure {
            return Err(error);
        }
        if let Some(race) = race.into_inner() {
            race.restore(&mut session.borrow_mut())?;
        }
    }
    Ok(())
}

/// The time of so many calls, from as many whole statements as hold them.
fn sample(
    race: &mut Race,
    session: &mut verification::session::Session,
    i: usize,
    wanted: u64,
) -> Result<Duration> {
    let statements = wanted.div_ceil(u64::from(race.calls())).max(1);
    let mut micros = 0.0;
    for _ in 0..statements {
        micros += race.once(session, i)?;
    }
    race.tidy(session)?;
    let each = micros / statements as f64;
    Ok(Duration::from_secs_f64(each * wanted as f64 / 1e6))
}
