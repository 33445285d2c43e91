//! Carries a plan out on every judge, compares after each step, and keeps the
//! model up to date.

use super::answers::{self, Manner};
use super::bench::Bench;
use super::index::{self, Problem};
use super::outcome::{Mismatch, Outcome};
use super::walk::{engine_statement, entities_of, Judged, Walk};
use super::Engine;
use crate::entity::{self, Entity, Kind};
use crate::model::{self, Client, Expect, Row};
use crate::plan::{Call, Plan, Step, Weave};
use std::time::Duration;

/// What a case did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Calls that returned.
    pub calls: u64,
    /// Calls that raised, as they had to.
    pub errors: u64,
    /// Whether something was committed.
    pub committed: bool,
    /// Times that amcheck looked.
    pub amchecks: u64,
}

type Agreed = Result<(), Box<Mismatch>>;

/// Carries out a plan.
///
/// # Errors
/// The first step at which judges or model disagree. The bench must then be
/// reset with `failed`.
pub fn execute(bench: &mut Bench, plan: &Plan) -> Result<Stats, Box<Mismatch>> {
    execute_watched(bench, plan, false, &mut |_, _| Ok(()))
}

/// A call that has been made, for somebody who looks on.
pub struct Done<'a> {
    /// The call.
    pub call: &'a Call,
    /// The client's statements for it, none where the model alone judged it.
    pub client: &'a [String],
}

/// Looks on after each call; what it finds wrong ends the plan.
pub type Onlooker<'a> = dyn FnMut(&mut Bench, &Done<'_>) -> Result<(), String> + 'a;

/// Carries out a plan, and shows each call afterwards. Among `strangers`, rows (or
/// rules) that the model does not know, the client's statements alone are the judge.
///
/// # Errors
/// As [`execute`].
pub fn execute_watched(
    bench: &mut Bench,
    plan: &Plan,
    strangers: bool,
    onlooker: &mut Onlooker<'_>,
) -> Result<Stats, Box<Mismatch>> {
    for judge in &mut bench.judges {
        judge.clock.clear();
    }
    let mut run = Run {
        bench,
        plan,
        strangers,
        onlooker,
        walk: Walk::new(plan),
        entities: entities_of(plan),
        step: 0,
        stats: Stats::default(),
    };
    run.on_duplicate(plan.on_duplicate_return)?;
    for (number, step) in plan.steps.iter().enumerate() {
        run.step = number;
        run.step(step)?;
    }
    if run.walk.in_transaction() {
        run.everywhere("ROLLBACK")?;
    }
    Ok(run.stats)
}

struct Run<'a, 'b> {
    bench: &'a mut Bench,
    plan: &'a Plan,
    strangers: bool,
    onlooker: &'a mut Onlooker<'b>,
    walk: Walk,
    entities: Vec<&'static dyn Entity>,
    step: usize,
    stats: Stats,
}

impl Run<'_, '_> {
    /// `caliber.on_duplicate` for the case. The bench remembers it, since it
    /// seldom changes.
    fn on_duplicate(&mut self, wanted: bool) -> Agreed {
        if self.bench.on_duplicate_return == wanted {
            return Ok(());
        }
        let value = if wanted { "return" } else { "error" };
        for i in 0..self.bench.judges.len() {
            let judge = &mut self.bench.judges[i];
            if judge.engine == Engine::Client {
                continue;
            }
            if let Err(failure) = judge.run(&format!("SET caliber.on_duplicate = {value}")) {
                let answers = vec![(judge.engine, failure.to_string())];
                return Err(self.mismatch("SET caliber.on_duplicate", "refused", answers, None));
            }
        }
        self.bench.on_duplicate_return = wanted;
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Agreed {
        match step {
            Step::Call(call) => self.calls(std::slice::from_ref(call), None),
            Step::Together { weave, calls } => self.calls(calls, Some(*weave)),
            Step::Pause(milliseconds) => {
                std::thread::sleep(Duration::from_millis(u64::from(*milliseconds)));
                Ok(())
            }
            Step::CheckTables => self.check_tables(),
            Step::CheckIndexes => self.check_indexes(),
            Step::Amcheck => self.amcheck(),
            Step::Begin(_) => match self.walk.control(step) {
                Some(sql) => self.begin(&sql),
                None => Ok(()),
            },
            Step::Commit | Step::Rollback | Step::Savepoint | Step::RollbackTo | Step::Release => {
                let (mut before, _) = model::ended(&self.walk.world);
                match self.walk.control(step) {
                    Some(sql) => {
                        if *step == Step::Commit {
                            self.stats.committed = true;
                            before.push(sql.clone());
                            return self.end(&sql, &before.join("; "));
                        }
                        self.everywhere(&sql)
                    }
                    None => Ok(()),
                }
            }
        }
    }

    fn begin(&mut self, sql: &str) -> Agreed {
        let symbol = self.walk.next_transaction();
        let message = format!("{sql}; SELECT now()");
        for i in 0..self.bench.judges.len() {
            let judge = &mut self.bench.judges[i];
            match judge.run(&message) {
                Ok(replies) => {
                    if let Some(reply) = replies.last() {
                        answers::note_now(judge, reply, &symbol);
                    }
                }
                Err(failure) => {
                    let answers = vec![(judge.engine, failure.to_string())];
                    return Err(self.mismatch(sql, "BEGIN failed", answers, None));
                }
            }
        }
        Ok(())
    }

    /// A statement that must succeed everywhere and returns nothing.
    fn everywhere(&mut self, sql: &str) -> Agreed {
        self.end(sql, sql)
    }

    /// The same, where the client has more to say.
    fn end(&mut self, sql: &str, client: &str) -> Agreed {
        for i in 0..self.bench.judges.len() {
            let judge = &mut self.bench.judges[i];
            let sql = if judge.engine == Engine::Client {
                client
            } else {
                sql
            };
            if let Err(failure) = judge.run(sql) {
                let answers = vec![(judge.engine, failure.to_string())];
                return Err(self.mismatch(sql, "a control statement failed", answers, None));
            }
        }
        Ok(())
    }

    /// One call, or several in one statement.
    fn calls(&mut self, calls: &[Call], weave: Option<Weave>) -> Agreed {
        let symbol = if self.walk.in_transaction() {
            None
        } else {
            Some(self.walk.next_transaction())
        };
        let wall = self.walk.next_statement();
        let judgement = match self.walk.judge(calls) {
            Ok(judgement) => judgement,
            Err(function) => {
                return Err(self.mismatch(
                    &function,
                    "no description has this function",
                    vec![],
                    None,
                ))
            }
        };
        let fails = judgement.fails();
        let guarded = symbol.is_none() && (fails || self.plan.savepoint_each);
        let timed = judgement
            .judged
            .iter()
            .any(|one| one.entity.table().has_wall());
        let manner = Manner {
            guarded,
            alone: symbol.as_deref(),
            timed: timed.then_some(wall.as_str()),
        };
        let end = match &symbol {
            Some(_) if !fails => model::ended(&judgement.after).0,
            _ => Vec::new(),
        };
        let statement = engine_statement(calls, weave);
        let mut outcomes = Vec::new();
        for judge in &mut self.bench.judges {
            let outcome = if judge.engine == Engine::Client {
                answers::of_client(judge, &judgement.judged, &end, manner)
            } else {
                Some(answers::of_engine(
                    judge,
                    &statement,
                    &judgement.judged,
                    calls.len(),
                    weave,
                    manner,
                ))
            };
            if let Some(outcome) = outcome {
                outcomes.push((judge.engine, outcome));
            }
        }
        self.compare(&statement, &judgement.judged, weave, &outcomes)?;
        self.show(&statement, calls, &judgement.judged)?;
        let raised = outcomes
            .iter()
            .any(|(_, outcome)| outcome.iter().any(|one| one.sqlstate().is_some()));
        if fails || raised {
            self.stats.errors += 1;
        } else {
            self.stats.calls += calls.len() as u64;
            self.stats.committed |= symbol.is_some();
            self.walk.keep(judgement.after);
        }
        Ok(())
    }

    /// Shows the onlooker each call of a step.
    fn show(&mut self, statement: &str, calls: &[Call], judged: &[Judged]) -> Agreed {
        for (call, one) in calls.iter().zip(judged) {
            let client = match &one.verdict.client {
                Client::Statements(statements, _) => statements.as_slice(),
                Client::Model => &[],
            };
            (self.onlooker)(self.bench, &Done { call, client })
                .map_err(|why| self.mismatch(statement, &why, vec![], None))?;
        }
        Ok(())
    }

    fn compare(
        &self,
        statement: &str,
        judged: &[Judged],
        weave: Option<Weave>,
        outcomes: &[(Engine, Vec<Outcome>)],
    ) -> Agreed {
        let disagree = |why: &str| {
            let answers = outcomes
                .iter()
                .map(|(engine, outcome)| (*engine, show(outcome)))
                .collect();
            let expected: Vec<String> = judged
                .iter()
                .map(|one| one.verdict.expect.to_string())
                .collect();
            Err(self.mismatch(statement, why, answers, Some(expected.join("\n·\n"))))
        };
        let Some((first, reference)) = outcomes.first() else {
            return Ok(());
        };
        for (engine, outcome) in outcomes {
            if outcome
                .iter()
                .any(|outcome| matches!(outcome, Outcome::Lost(_)))
            {
                return disagree(&format!("the connection of {} was lost", engine.name()));
            }
            let many = judged.iter().any(|one| one.function.kind == Kind::Many);
            if !answers::same(reference, outcome, weave.is_some() || many) {
                return disagree(&format!(
                    "{} and {} answer differently",
                    first.name(),
                    engine.name()
                ));
            }
        }
        match answers::meet(judged, reference) {
            Err(why) if !self.strangers => disagree(&why),
            _ => Ok(()),
        }
    }

    fn check_tables(&mut self) -> Agreed {
        for entity in self.entities.clone() {
            let table = entity.table();
            let sql = format!("SELECT x FROM {} x ORDER BY {}", table.name, table.key);
            let mut answers = Vec::new();
            for judge in &mut self.bench.judges {
                let outcome = match judge.run(&sql) {
                    Ok(mut replies) => judge
                        .values(replies.pop().unwrap_or_default().column())
                        .sorted(),
                    Err(failure) => judge.failure(failure),
                };
                answers.push((judge.engine, outcome));
            }
            let rows: Vec<Row> = self
                .walk
                .world
                .rows(table)
                .map(|(_, row)| row.clone())
                .collect();
            let expect = Expect::Rows(rows);
            let differ = answers.windows(2).any(|pair| pair[0].1 != pair[1].1);
            let unexpected = !self.strangers
                && answers
                    .first()
                    .is_some_and(|(_, outcome)| answers::meets(table, &expect, outcome).is_err());
            if differ || unexpected {
                let why = if differ {
                    "the tables differ"
                } else {
                    "the table is not what the model has"
                };
                let shown = answers
                    .iter()
                    .map(|(engine, outcome)| (*engine, outcome.to_string()))
                    .collect();
                return Err(self.mismatch(&sql, why, shown, Some(expect.to_string())));
            }
        }
        Ok(())
    }

    /// Whose indexes are checked: those that the plan is about, not those of
    /// the rows it refers to.
    fn checked(&self) -> Vec<&'static dyn Entity> {
        let own = self.plan.entity.as_str();
        let besides = entity::by_name(own).map_or(&[][..], |entity| entity.also_writes());
        let about = |entity: &&'static dyn Entity| {
            let name = entity.table().entity;
            name == own || besides.contains(&name)
        };
        self.entities.iter().copied().filter(about).collect()
    }

    fn check_indexes(&mut self) -> Agreed {
        let in_transaction = self.walk.in_transaction();
        let control = self.bench.is_control();
        for i in 0..self.bench.judges.len() {
            // Of the others PostgreSQL alone maintains the indexes.
            if self.bench.judges[i].engine != Engine::Heap && !control {
                continue;
            }
            for entity in self.checked() {
                for index in entity.table().indexes {
                    let judge = &mut self.bench.judges[i];
                    if let Err(problem) = index::check(judge, entity.table(), index, in_transaction)
                    {
                        return Err(self.problem(i, "read every index", problem));
                    }
                }
            }
        }
        Ok(())
    }

    fn amcheck(&mut self) -> Agreed {
        for i in 0..self.bench.judges.len() {
            if let Err(problem) = index::caliber_check(&mut self.bench.judges[i]) {
                return Err(self.problem(i, "caliber_check()", problem));
            }
        }
        if !self.bench.amcheck {
            return Ok(());
        }
        for i in 0..self.bench.judges.len() {
            for entity in self.checked() {
                if let Err(problem) = index::amcheck(&mut self.bench.judges[i], entity.table()) {
                    return Err(self.problem(i, "amcheck", problem));
                }
            }
        }
        self.stats.amchecks += 1;
        Ok(())
    }

    fn problem(&self, judge: usize, what: &str, problem: Problem) -> Box<Mismatch> {
        let engine = self.bench.judges[judge].engine;
        match problem {
            Problem::Wrong(why) => {
                self.mismatch(what, "index and table disagree", vec![(engine, why)], None)
            }
            Problem::Failed(failure) => self.mismatch(
                what,
                "the check failed",
                vec![(engine, failure.to_string())],
                None,
            ),
        }
    }

    fn mismatch(
        &self,
        what: &str,
        why: &str,
        answers: Vec<(Engine, String)>,
        expected: Option<String>,
    ) -> Box<Mismatch> {
        Box::new(Mismatch {
            step: self.step,
            what: what.to_owned(),
            why: why.to_owned(),
            answers,
            expected,
        })
    }
}

fn show(outcomes: &[Outcome]) -> String {
    let shown: Vec<String> = outcomes.iter().map(Outcome::to_string).collect();
    shown.join("\n·\n")
}
