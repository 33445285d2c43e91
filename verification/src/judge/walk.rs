//! The model's walk through a plan, without a server: which rows are there at
//! each step, what each call must give, and which SQL says the same.

use crate::entity::{self, Entity, Function, Shape};
use crate::model::{self, Client, Expect, Verdict, World};
use crate::plan::{Call, Plan, Step, Weave};
use crate::value::quote;

/// A call with its verdict.
pub(super) struct Judged {
    pub(super) entity: &'static dyn Entity,
    pub(super) function: &'static Function,
    pub(super) verdict: Verdict,
}

impl Judged {
    pub(super) fn fails(&self) -> bool {
        matches!(self.verdict.expect, Expect::Error(_))
    }
}

/// The calls of one step: judged in order, up to the first that fails.
pub(super) struct Judgement {
    pub(super) judged: Vec<Judged>,
    pub(super) after: World,
}

impl Judgement {
    pub(super) fn fails(&self) -> bool {
        self.judged.last().is_some_and(Judged::fails)
    }
}

/// An open transaction: the rows at its start and at each savepoint.
struct Transaction {
    start: World,
    savepoints: Vec<World>,
}

/// Where the model is.
pub(super) struct Walk {
    pub(super) world: World,
    transaction: Option<Transaction>,
    transactions: usize,
    statements: usize,
}

impl Walk {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            world: World::new(plan.on_duplicate_return),
            transaction: None,
            transactions: 0,
            statements: 0,
        }
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// A new transaction begins; its symbol is returned.
    pub(super) fn next_transaction(&mut self) -> String {
        self.transactions += 1;
        let symbol = format!("<t{}>", self.transactions);
        self.world.now.clone_from(&symbol);
        symbol
    }

    /// A new statement begins; the symbol of the wall clock is returned.
    pub(super) fn next_statement(&mut self) -> String {
        self.statements += 1;
        self.world.statement = self.statements;
        model::moment::wall(self.statements)
    }

    /// Follows a step that controls transactions and returns its SQL; `None`
    /// for other steps, and for those that make no sense here (shrinking
    /// leaves such behind).
    pub(super) fn control(&mut self, step: &Step) -> Option<String> {
        if let Step::Begin(isolation) = step {
            if self.transaction.is_some() {
                return None;
            }
            self.transaction = Some(Transaction {
                start: self.world.clone(),
                savepoints: Vec::new(),
            });
            return Some(format!("BEGIN ISOLATION LEVEL {}", isolation.sql()));
        }
        let transaction = self.transaction.as_mut()?;
        let number = transaction.savepoints.len();
        match step {
            Step::Commit => {
                self.transaction = None;
                self.world = model::ended(&self.world).1;
                Some("COMMIT".to_owned())
            }
            Step::Rollback => {
                self.world = self.transaction.take()?.start;
                Some("ROLLBACK".to_owned())
            }
            Step::Savepoint => {
                let mut world = self.world.clone();
                world.now.clone_from(&self.world.now);
                transaction.savepoints.push(world);
                Some(format!("SAVEPOINT s{}", number + 1))
            }
            Step::RollbackTo => {
                self.world = transaction.savepoints.last()?.clone();
                Some(format!("ROLLBACK TO s{number}"))
            }
            Step::Release => {
                transaction.savepoints.pop()?;
                Some(format!("RELEASE s{number}"))
            }
            _ => None,
        }
    }

    /// The calls of a step came to their end: these rows are there now.
    pub(super) fn keep(&mut self, after: World) {
        self.world = if self.in_transaction() {
            after
        } else {
            model::ended(&after).1
        };
    }

    /// Judges the calls of a step; the world is as before.
    ///
    /// # Errors
    /// The name of a function that no description has.
    pub(super) fn judge(&self, calls: &[Call]) -> Result<Judgement, String> {
        let mut judged = Vec::new();
        let mut after = self.world.clone();
        for call in calls {
            let (entity, function) =
                entity::function_named(&call.function).ok_or_else(|| call.function.clone())?;
            let verdict = model::judge(entity, function, &after, call);
            if let Some(next) = &verdict.after {
                after = next.clone();
            }
            let one = Judged {
                entity,
                function,
                verdict,
            };
            let fails = one.fails();
            judged.push(one);
            if fails {
                break;
            }
        }
        Ok(Judgement { judged, after })
    }
}

/// The entities that a plan is about, parents before children: that of the
/// plan, those of its calls, and those that they write besides.
pub(super) fn entities_of(plan: &Plan) -> Vec<&'static dyn Entity> {
    let calls = plan.steps.iter().flat_map(|step| match step {
        Step::Call(call) => std::slice::from_ref(call),
        Step::Together { calls, .. } => calls.as_slice(),
        _ => &[],
    });
    let called: Vec<&dyn Entity> = calls
        .filter_map(|call| entity::function_named(&call.function))
        .map(|(entity, _)| entity)
        .chain(entity::by_name(&plan.entity))
        .collect();
    entity::described()
        .iter()
        .copied()
        .filter(|entity| {
            let name = entity.table().entity;
            called
                .iter()
                .any(|other| other.table().entity == name || other.also_writes().contains(&name))
        })
        .collect()
}

/// The statement by which an engine makes the calls.
pub(super) fn engine_statement(calls: &[Call], weave: Option<Weave>) -> String {
    let shape =
        |call: &Call| entity::function_named(&call.function).map(|(_, function)| function.shape);
    let Some(weave) = weave else {
        return match calls.first() {
            Some(call) if shape(call) == Some(Shape::Set) => {
                format!("SELECT l FROM {} l", call.sql())
            }
            Some(call) => format!("SELECT {}", call.sql()),
            None => String::new(),
        };
    };
    // All calls go into the statement, those after one that fails included.
    let parts: Vec<String> = calls
        .iter()
        .map(|call| match shape(call) {
            Some(Shape::Set) => format!(
                "(SELECT coalesce(json_agg(l::text), '[]')::text FROM {} l)",
                call.sql()
            ),
            _ => format!("({})::text", call.sql()),
        })
        .collect();
    match weave {
        Weave::TargetList => format!("SELECT {}", parts.join(", ")),
        Weave::Cte => {
            let ctes: Vec<String> = parts
                .iter()
                .enumerate()
                .map(|(i, part)| {
                    let from = if i == 0 {
                        String::new()
                    } else {
                        format!(" FROM c{}", i - 1)
                    };
                    format!("c{i} AS MATERIALIZED (SELECT {part} AS r{from})")
                })
                .collect();
            let columns: Vec<String> = (0..parts.len()).map(|i| format!("c{i}.r")).collect();
            // The last first: it pulls the others, in order.
            let tables: Vec<String> = (0..parts.len()).map(|i| format!("c{i}")).collect();
            format!(
                "WITH {} SELECT {} FROM {}",
                ctes.join(", "),
                columns.join(", "),
                tables.join(", ")
            )
        }
        Weave::PlPgSql | Weave::Block => {
            let function = if weave == Weave::Block {
                "verification.in_block"
            } else {
                "verification.in_order"
            };
            let list: Vec<String> = parts
                .iter()
                .map(|part| quote(&format!("SELECT {part}")))
                .collect();
            format!("SELECT * FROM {function}(ARRAY[{}])", list.join(", "))
        }
    }
}

/// One step of a plan, written down.
#[derive(Clone, Debug)]
pub struct ScriptLine {
    /// The step's number.
    pub step: usize,
    /// What an engine's session sends.
    pub sql: String,
    /// What the client sends instead, where it differs.
    pub client: Vec<String>,
    /// What the model expects.
    pub expected: Option<String>,
}

/// Writes a plan down as SQL.
#[must_use]
pub fn script(plan: &Plan) -> Vec<ScriptLine> {
    let mut walk = Walk::new(plan);
    let mut lines = Vec::new();
    for (number, step) in plan.steps.iter().enumerate() {
        let mut push = |sql: String, client: Vec<String>, expected: Option<String>| {
            lines.push(ScriptLine {
                step: number,
                sql,
                client,
                expected,
            });
        };
        let (calls, weave) = match step {
            Step::Call(call) => (std::slice::from_ref(call), None),
            Step::Together { weave, calls } => (calls.as_slice(), Some(*weave)),
            Step::Pause(ms) => {
                push(
                    format!("SELECT pg_sleep({})", f64::from(*ms) / 1000.0),
                    vec![],
                    None,
                );
                continue;
            }
            Step::CheckTables => {
                for entity in entities_of(plan) {
                    push(format!("TABLE {}", entity.table().name), vec![], None);
                }
                continue;
            }
            Step::CheckIndexes => {
                for sql in super::index::script(&entities_of(plan)) {
                    push(sql, vec![], None);
                }
                continue;
            }
            Step::Amcheck => {
                push("SELECT * FROM caliber_check()".to_owned(), vec![], None);
                push(
                    "SELECT 'amcheck of every index and table'".to_owned(),
                    vec![],
                    None,
                );
                continue;
            }
            control => {
                if let Some(sql) = walk.control(control) {
                    if matches!(control, Step::Begin(_)) {
                        walk.next_transaction();
                    }
                    push(sql, vec![], None);
                }
                continue;
            }
        };
        if !walk.in_transaction() {
            walk.next_transaction();
        }
        walk.next_statement();
        let Ok(judgement) = walk.judge(calls) else {
            continue;
        };
        let guarded = walk.in_transaction() && (judgement.fails() || plan.savepoint_each);
        let client = judgement
            .judged
            .iter()
            .flat_map(|one| match &one.verdict.client {
                Client::Statements(statements, _) => statements.clone(),
                Client::Model => vec!["nothing: the model alone judges this".to_owned()],
            })
            .collect();
        let expected: Vec<String> = judgement
            .judged
            .iter()
            .map(|one| one.verdict.expect.to_string())
            .collect();
        let statement = engine_statement(calls, weave);
        let sql = match (guarded, judgement.fails()) {
            (false, _) => statement,
            (true, true) => {
                format!("SAVEPOINT guard;\n{statement};\nROLLBACK TO guard;\nRELEASE guard")
            }
            (true, false) => format!("SAVEPOINT guard;\n{statement};\nRELEASE guard"),
        };
        push(sql, client, Some(expected.join(" · ")));
        if !judgement.fails() {
            walk.keep(judgement.after);
        }
    }
    lines
}
