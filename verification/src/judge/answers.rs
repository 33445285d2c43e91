//! Asking one judge, and comparing what judges and model say.

use super::bench::Judge;
use super::outcome::Outcome;
use super::walk::Judged;
use crate::entity::{Shape, Table};
use crate::model::{Answer, Client, Expect, Row};
use crate::plan::Weave;
use crate::record;
use crate::session::{Failure, Reply};

/// How a statement is sent: in which transaction, guarded by a savepoint or not.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    /// Wrapped in a savepoint, because it must fail.
    pub(super) guarded: bool,
    /// The symbol of the statement's own transaction, outside a larger one.
    pub(super) alone: Option<&'a str>,
    /// The symbol of the wall clock during the statement, if it matters.
    pub(super) timed: Option<&'a str>,
}

impl Manner<'_> {
    fn wrap(self, sql: &str) -> String {
        const WATCH: &str = "SELECT clock_timestamp()";
        let sql = match self.timed {
            Some(_) => format!("{WATCH}; {sql}; {WATCH}"),
            None => sql.to_owned(),
        };
        match (self.guarded, self.alone) {
            (true, _) => format!("SAVEPOINT guard; {sql}"),
            (false, Some(_)) => format!("SELECT now(); {sql}"),
            (false, None) => sql,
        }
    }

    /// Sends a statement, notes the time, and ends the savepoint.
    fn send(self, judge: &mut Judge, sql: &str) -> Result<Vec<Reply>, Outcome> {
        match judge.run(&self.wrap(sql)) {
            Ok(mut replies) => {
                if self.guarded || self.alone.is_some() {
                    let first = replies.remove(0);
                    if let Some(symbol) = self.alone {
                        note_now(judge, &first, symbol);
                    }
                }
                if let Some(symbol) = self.timed {
                    let from = single(&replies.remove(0));
                    let to = single(&replies.pop().unwrap_or_default());
                    judge.clock.note_range(&from, &to, symbol);
                }
                if self.guarded {
                    judge
                        .run("RELEASE guard")
                        .map_err(|failure| judge.failure(failure))?;
                }
                Ok(replies)
            }
            Err(failure) => {
                let gone = matches!(failure, Failure::Lost(_));
                let outcome = judge.failure(failure);
                if self.guarded && !gone {
                    judge
                        .run("ROLLBACK TO guard; RELEASE guard")
                        .map_err(|failure| judge.failure(failure))?;
                }
                Err(outcome)
            }
        }
    }
}

fn single(reply: &Reply) -> String {
    let cell = reply.rows.first().and_then(|row| row.first());
    cell.cloned().flatten().unwrap_or_default()
}

/// Notes the answer of `SELECT now()`.
pub(super) fn note_now(judge: &mut Judge, reply: &Reply, symbol: &str) {
    if let Some(Some(now)) = reply.rows.first().and_then(|row| row.first()) {
        judge.clock.note(now, symbol);
    }
}

/// An engine's answers to the calls of one statement.
pub(super) fn of_engine(
    judge: &mut Judge,
    statement: &str,
    judged: &[Judged],
    calls: usize,
    weave: Option<Weave>,
    manner: Manner<'_>,
) -> Vec<Outcome> {
    let reply = match manner.send(judge, statement) {
        Ok(mut replies) => replies.pop().unwrap_or_default(),
        Err(outcome) => return vec![outcome],
    };
    if let Err(outcome) = learn(judge, judged) {
        return vec![outcome];
    }
    let cells = match weave {
        None => return vec![judge.values(reply.column())],
        Some(Weave::TargetList | Weave::Cte) => reply.rows.into_iter().next().unwrap_or_default(),
        Some(Weave::PlPgSql | Weave::Block) => reply.column(),
    };
    if cells.len() != calls || judged.len() != calls {
        return vec![Outcome::Values(cells)];
    }
    let split = |(one, cell): (&Judged, Option<String>)| {
        let values = match (one.function.shape, &cell) {
            (Shape::Set, Some(json)) => serde_json::from_str(json).unwrap_or_default(),
            // `::text` spells a boolean out.
            (Shape::Scalar, Some(text)) if text == "true" => vec![Some("t".to_owned())],
            (Shape::Scalar, Some(text)) if text == "false" => vec![Some("f".to_owned())],
            _ => vec![cell],
        };
        judge.values(values)
    };
    judged.iter().zip(cells).map(split).collect()
}

/// Finds out which ids and moments a statement made.
fn learn(judge: &mut Judge, judged: &[Judged]) -> Result<(), Outcome> {
    for one in judged {
        if let Some(made) = &one.verdict.made {
            judge
                .learn_id(made)
                .map_err(|failure| judge.failure(failure))?;
        }
    }
    learn_moments(judge, judged);
    Ok(())
}

/// What was added to the wall clock: the model knows how much.
fn learn_moments(judge: &mut Judge, judged: &[Judged]) {
    for one in judged {
        let Some(after) = &one.verdict.after else {
            continue;
        };
        for symbol in after.later_moments(one.entity.table()) {
            judge.clock.note_later(&symbol);
        }
    }
}

/// The client's answers, `None` where the model alone judges.
pub(super) fn of_client(
    judge: &mut Judge,
    judged: &[Judged],
    end: &[String],
    manner: Manner<'_>,
) -> Option<Vec<Outcome>> {
    let mut statements = Vec::new();
    for one in judged {
        match &one.verdict.client {
            Client::Statements(own, _) => statements.extend(own.iter().map(String::as_str)),
            // Refused by step 1 or 3: what earlier calls of the statement did
            // goes with it, so the client does nothing at all.
            Client::Model => return None,
        }
    }
    statements.extend(end.iter().map(String::as_str));
    let mut replies = match manner.send(judge, &statements.join("; ")) {
        Ok(replies) => replies.into_iter(),
        Err(outcome) => return Some(vec![outcome]),
    };
    learn_moments(judge, judged);
    let mut outcomes = Vec::new();
    for one in judged {
        if let Client::Statements(own, answer) = &one.verdict.client {
            let own: Vec<Reply> = replies.by_ref().take(own.len()).collect();
            outcomes.push(judge.values(read_answer(answer, own)));
        }
    }
    Some(outcomes)
}

fn read_answer(answer: &Answer, mut replies: Vec<Reply>) -> Vec<Option<String>> {
    match answer {
        Answer::Fixed(value) => vec![value.clone()],
        Answer::Rows => replies.pop().unwrap_or_default().column(),
        Answer::Row => vec![replies
            .pop()
            .unwrap_or_default()
            .column()
            .into_iter()
            .next()
            .flatten()],
        Answer::Moved(number) => {
            let moved = replies.get(*number).is_some_and(|reply| reply.count > 0);
            vec![Some(if moved { "t" } else { "f" }.to_owned())]
        }
        Answer::Count => vec![replies.last().map(|reply| reply.count.to_string())],
        Answer::Inserted(id) => {
            let inserted = replies.last().is_some_and(|reply| reply.count > 0);
            vec![inserted.then(|| id.to_string())]
        }
    }
}

/// Whether two judges said the same. Inside PL/pgSQL, and for the elements of a
/// `*_many` (of which the heap engine alone knows which it is writing), a
/// CONTEXT has lines that the others' cannot have.
pub(super) fn same(left: &[Outcome], right: &[Outcome], ignore_context: bool) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|pair| match pair {
            (Outcome::Error(left), Outcome::Error(right)) if ignore_context => {
                left.without_context() == right.without_context()
            }
            (Outcome::Error(left), Outcome::Error(right)) => {
                left.without_spi_context() == right.without_spi_context()
            }
            (left, right) => left == right,
        })
}

/// Whether the answers are what the model expects.
pub(super) fn meet(judged: &[Judged], outcomes: &[Outcome]) -> Result<(), String> {
    if let Some(Expect::Error(sqlstate)) = judged.last().map(|one| &one.verdict.expect) {
        return match outcomes.first().and_then(Outcome::sqlstate) {
            Some(seen) if seen == *sqlstate => Ok(()),
            Some(seen) => Err(format!("expected SQLSTATE {sqlstate}, not {seen}")),
            None => Err(format!("expected an error with SQLSTATE {sqlstate}")),
        };
    }
    if outcomes.len() != judged.len() {
        return Err("unexpected error".to_owned());
    }
    judged
        .iter()
        .zip(outcomes)
        .try_for_each(|(one, outcome)| meets(one.entity.table(), &one.verdict.expect, outcome))
}

/// Whether one answer is what the model expects.
pub(super) fn meets(table: &Table, expect: &Expect, outcome: &Outcome) -> Result<(), String> {
    let Outcome::Values(values) = outcome else {
        return Err("unexpected error".to_owned());
    };
    let row_is = |row: &Row, value: &Option<String>| {
        value
            .as_deref()
            .and_then(record::fields)
            .is_some_and(|fields| row.matches(table, &fields))
    };
    let met = match expect {
        Expect::Error(_) => false,
        Expect::Value(value) => values.len() == 1 && values[0] == *value,
        Expect::Row(None) => values.len() == 1 && values[0].is_none(),
        Expect::Row(Some(row)) => values.len() == 1 && row_is(row, &values[0]),
        Expect::Rows(rows) => {
            rows.len() == values.len()
                && rows
                    .iter()
                    .zip(values)
                    .all(|(row, value)| row_is(row, value))
        }
        Expect::Hits(rows) => {
            rows.len() == values.len()
                && rows.iter().zip(values).all(|(row, value)| {
                    let hit = value.as_deref().and_then(record::fields);
                    hit.is_some_and(|hit| hit.len() == 2 && row_is(row, &hit[0]))
                })
        }
        Expect::Values(wanted) => wanted == values,
    };
    if met {
        Ok(())
    } else {
        Err("not what the model expects".to_owned())
    }
}
