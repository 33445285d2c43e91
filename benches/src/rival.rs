//! What a function is compared with: the equivalent statement through SPI, with kept plans
//! or planned at each call, and in PL/pgSQL.

use crate::bar::Baseline;
use crate::entity::{Entity, Kind, Operation};
use crate::template;
use anyhow::{Context, Result};
use verification::session::Session;

/// Who does the work in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// Our function.
    Ours,
    /// A rival function.
    Rival(Baseline),
}

impl Contender {
    /// What the names of a rival's functions begin with.
    fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Rival(Baseline::Kept) => Some("bench.kept_"),
            Self::Rival(Baseline::OneShot) => Some("bench.oneshot_"),
            Self::Rival(Baseline::PlPgSql) => Some("bench.plpgsql_"),
            _ => None,
        }
    }

    /// The name of the function that does this operation. One function of ours may do several; a
    /// rival has one for each.
    fn function(self, operation: &Operation) -> String {
        match self.prefix() {
            Some(prefix) => format!("{prefix}{}", operation.identifier()),
            None => format!("public.{}", operation.function),
        }
    }

    /// The name of the function that does the second half of an operation.
    fn then(self, function: &str) -> String {
        format!("{}{function}", self.prefix().unwrap_or("public."))
    }

    /// A query that does the operation once for each row of `arguments` and returns what
    /// came of it: calls that did something, or rows.
    #[must_use]
    pub fn query(self, operation: &Operation, arguments: &str) -> String {
        let names: Vec<String> = operation
            .arguments
            .iter()
            .map(|argument| format!("a.{}", argument.0))
            .collect();
        let call = format!("{}({})", self.function(operation), names.join(", "));
        if operation.returns_set() {
            return format!("SELECT count(*) FROM {arguments} a, LATERAL {call} x");
        }
        match operation.then {
            Some((then, _)) => {
                let then = self.then(then);
                format!("SELECT count(*) FILTER (WHERE {then}({call})) FROM {arguments} a")
            }
            None if operation.returns == "boolean" => {
                format!("SELECT count(*) FILTER (WHERE {call}) FROM {arguments} a")
            }
            None => format!("SELECT count({call}) FROM {arguments} a"),
        }
    }
}

/// Declares all rivals of these operations.
///
/// # Errors
/// When a statement fails: without the feature `bench` there are no such functions.
pub fn declare(
    session: &mut Session,
    operations: &[(&'static Entity, &'static Operation)],
) -> Result<()> {
    for (entity, operation) in operations {
        declare_one(session, operation)
            .with_context(|| format!("rivals of {} ({})", operation.function, entity.name))?;
    }
    session.batch(
        "CREATE FUNCTION bench.probe(index regclass, ids uuid[]) RETURNS bigint
             AS 'caliber_pg', 'caliber_bench_probe' LANGUAGE c STABLE STRICT;
         CREATE FUNCTION bench.clock() RETURNS bigint
             AS 'caliber_pg', 'caliber_bench_clock' LANGUAGE c VOLATILE STRICT",
    )
}

fn declare_one(session: &mut Session, operation: &Operation) -> Result<()> {
    for (baseline, planning) in [(Baseline::Kept, "kept"), (Baseline::OneShot, "oneshot")] {
        let contender = Contender::Rival(baseline);
        let form = match operation.kind {
            Kind::Create | Kind::CreateVector | Kind::Lock => "create",
            Kind::List | Kind::Many | Kind::Receive | Kind::Search => "set",
            Kind::Get | Kind::GetNear => "row",
            Kind::Update | Kind::Hot => "write",
        };
        let name = contender.function(operation);
        let declare = |name: &str,
                       arguments: &[&str],
                       returns: &str,
                       form: &str,
                       statement: &str| {
            let types: String = arguments.iter().map(|kind| format!("{kind}, ")).collect();
            format!(
                "CREATE OR REPLACE FUNCTION {name}({types}statement text DEFAULT $statement${statement}$statement$) RETURNS {returns}
                 AS 'caliber_pg', 'caliber_bench_{planning}_{form}' LANGUAGE c {}",
                volatility(operation)
            )
        };
        let types: Vec<&str> = operation.arguments.iter().map(|a| a.1).collect();
        session.batch(&declare(
            &name,
            &types,
            &returns(operation),
            form,
            &operation.numbered(),
        ))?;
        if let Some((then, statement)) = operation.then {
            let name = contender.then(then);
            let statement = template::fill(statement, |name| format!(":{name}"));
            session.batch(&declare(&name, &["uuid"], "boolean", "write", &statement))?;
        }
    }
    declare_plpgsql(session, operation)
}

fn volatility(operation: &Operation) -> &'static str {
    if operation.kind.writes() {
        "VOLATILE"
    } else {
        "STABLE"
    }
}

fn returns(operation: &Operation) -> String {
    if operation.returns_set() && !operation.returns.starts_with("TABLE(") {
        format!("SETOF {}", operation.returns)
    } else {
        operation.returns.to_owned()
    }
}

fn declare_plpgsql(session: &mut Session, operation: &Operation) -> Result<()> {
    let contender = Contender::Rival(Baseline::PlPgSql);
    let text = template::fill(operation.statement, |name| {
        match operation.arguments.iter().position(|a| a.0 == name) {
            Some(at) => format!("${}", at + 1),
            None => "new_id".to_owned(),
        }
    });
    let mut steps: Vec<String> = text.split("\n;\n").map(str::to_owned).collect();
    let last = steps.pop().unwrap_or_default();
    let before: String = steps
        .iter()
        .map(|step| format!("IF ({step}) = false THEN RETURN NULL; END IF;\n"))
        .collect();
    let body = match operation.kind {
        Kind::Create | Kind::CreateVector | Kind::Lock => format!(
            "DECLARE new_id uuid := public.caliber_new_id(); BEGIN {before}{last}; RETURN CASE WHEN FOUND THEN new_id END; END"
        ),
        Kind::Get | Kind::GetNear => {
            let into = last.replacen("SELECT x.* FROM", "SELECT x.* INTO result FROM", 1);
            format!(
                "DECLARE result {}; BEGIN {into}; IF NOT FOUND THEN RETURN NULL; END IF; RETURN result; END",
                operation.returns
            )
        }
        Kind::Update | Kind::Hot => format!("BEGIN {last}; RETURN FOUND; END"),
        Kind::List | Kind::Many | Kind::Receive | Kind::Search => {
            format!("BEGIN RETURN QUERY {last}; END")
        }
    };
    let types: Vec<&str> = operation.arguments.iter().map(|a| a.1).collect();
    let name = contender.function(operation);
    let volatility = volatility(operation);
    session.batch(&format!(
        "CREATE OR REPLACE FUNCTION {name}({}) RETURNS {} LANGUAGE plpgsql {volatility} AS $body${body}$body$",
        types.join(", "),
        returns(operation)
    ))?;
    if let Some((then, statement)) = operation.then {
        let name = contender.then(then);
        let statement = template::fill(statement, |name| format!(":{name}"));
        session.batch(&format!(
            "CREATE FUNCTION {name}(uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE
             AS $body$BEGIN {statement}; RETURN FOUND; END$body$"
        ))?;
    }
    Ok(())
}

/// The statement that a client prepares for this operation, with its parameters' types; a
/// create takes its id as the first.
#[must_use]
pub fn for_client(operation: &Operation) -> (String, Vec<&'static str>) {
    let mut types: Vec<&'static str> = operation.arguments.iter().map(|a| a.1).collect();
    if operation.makes_id() {
        types.insert(0, "uuid");
    }
    (operation.numbered(), types)
}
