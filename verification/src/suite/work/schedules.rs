//! Two sessions on one piece of work, step by step.

use super::{ids, Kind, PEOPLE};
use crate::isolation::{run, Options, Script, Transcript};
use crate::judge::Engine;
use crate::plan::Isolation;
use crate::runner::{Context, Outcome};
use crate::suite::desk;
use anyhow::{ensure, Result};

/// Two sessions, and what the second gets at READ COMMITTED and above.
#[derive(Debug)]
pub struct Case {
    /// What it shows.
    pub name: &'static str,
    /// What session 0 does, and does not commit.
    pub first: &'static str,
    /// What session 1 then asks for, while it waits.
    pub second: &'static str,
    /// How session 0 ends.
    pub end: &'static str,
    /// What session 1 gets at READ COMMITTED.
    pub committed: &'static str,
    /// And above.
    pub repeatable: &'static str,
    /// What the row says in the end, if session 1 commits: at READ COMMITTED.
    pub left: &'static str,
}

/// Cases of both entities. `NAME`, `TABLE`, `KEY` and so on are replaced.
pub const BOTH: &[Case] = &[
    Case {
        name: "the winner commits",
        first: "SELECT caliber_NAME_accept('@9', '@b')",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "COMMIT",
        committed: "f",
        repeatable: "40001",
        left: "@b worker accepted",
    },
    Case {
        name: "the winner rolls back",
        first: "SELECT caliber_NAME_accept('@9', '@b')",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "ROLLBACK",
        committed: "t",
        repeatable: "t",
        left: "@c worker accepted",
    },
    Case {
        name: "the winner rolls back to a savepoint",
        first: "SAVEPOINT s; SELECT caliber_NAME_accept('@9', '@b')",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "ROLLBACK TO s",
        committed: "t",
        repeatable: "t",
        left: "@c worker accepted",
    },
    Case {
        name: "rejected meanwhile",
        first: "SELECT caliber_NAME_reject('@9')",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "COMMIT",
        committed: "55000",
        repeatable: "40001",
        left: "worker rejected",
    },
    Case {
        name: "deleted meanwhile",
        first: "SELECT caliber_NAME_delete('@9')",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "COMMIT",
        committed: "f",
        repeatable: "40001",
        left: "",
    },
    Case {
        name: "changed where no rule looks",
        first: "UPDATE TABLE SET IDLE WHERE KEY = '@9'",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "COMMIT",
        committed: "t",
        repeatable: "40001",
        left: "@c worker accepted",
    },
    Case {
        name: "addressed to another type meanwhile",
        first: "UPDATE TABLE SET TYPE = 'other' WHERE KEY = '@9'",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "COMMIT",
        committed: "42501",
        repeatable: "40001",
        left: "other OPEN",
    },
    Case {
        name: "made by the acceptor meanwhile",
        first: "UPDATE TABLE SET FROM_AGENT = '@c' WHERE KEY = '@9'",
        second: "SELECT caliber_NAME_accept('@9', '@c')",
        end: "COMMIT",
        committed: "42501",
        repeatable: "40001",
        left: "worker OPEN",
    },
    Case {
        name: "two who reject",
        first: "SELECT caliber_NAME_reject('@9')",
        second: "SELECT caliber_NAME_reject('@9')",
        end: "COMMIT",
        committed: "f",
        repeatable: "40001",
        left: "worker rejected",
    },
    Case {
        name: "accepted, then rejected",
        first: "SELECT caliber_NAME_accept('@9', '@b')",
        second: "SELECT caliber_NAME_reject('@9')",
        end: "COMMIT",
        committed: "55000",
        repeatable: "40001",
        left: "@b worker accepted",
    },
];

impl Kind {
    fn words(&self, text: &str) -> String {
        let idle = format!("{} = {}", self.idle.0, self.idle.1);
        text.replace("NAME", self.name)
            .replace("TABLE", &self.table())
            .replace("IDLE", &idle)
            .replace("KEY", &self.key())
            .replace("FROM_AGENT", self.from)
            .replace("TYPE", self.agent_type)
            .replace("AGENT", self.agent)
            .replace("OPEN", self.open)
    }
}

fn answer(transcript: &Transcript, step: usize) -> String {
    transcript
        .answer(step)
        .and_then(|answer| answer.sqlstate().or(answer.value()))
        .unwrap_or_default()
        .to_owned()
}

/// Runs the cases on `row`; `orphan` is a query that must find nothing.
///
/// # Errors
/// When a session waits, answers or leaves something that it should not.
pub fn schedules(
    context: &Context,
    kind: &Kind,
    cases: &[&[Case]],
    row: &str,
    orphan: &str,
) -> Result<Outcome> {
    let mut count = 0;
    for engine in [Engine::Heap, Engine::Sql] {
        let database = context.server.fresh_database()?;
        let mut control = database.connect()?;
        control.batch(&ids(PEOPLE))?;
        let setup = desk::setup(engine);
        let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
        let mut script = Script::new(3, &setup);
        let mut runs = Vec::new();
        for case in cases.iter().copied().flatten() {
            for isolation in Isolation::ALL {
                let begin = format!("BEGIN ISOLATION LEVEL {}; SELECT 1", isolation.sql());
                let first = script.steps.len();
                runs.push((case, isolation, first));
                script = script
                    .step(
                        2,
                        &format!(
                            "DELETE FROM {}; DELETE FROM caliber_trajectory WHERE trajectory_id > '{}'; {}",
                            kind.table(),
                            ids("@2"),
                            row
                        ),
                    )
                    .step(0, &begin)
                    .step(1, &begin)
                    .step(0, &ids(&kind.words(case.first)))
                    .step(1, &ids(&kind.words(case.second)))
                    .step(0, case.end)
                    .step(1, "COMMIT")
                    .step(0, "ROLLBACK")
                    .step(2, &kind.see("@9"))
                    .step(2, orphan);
            }
        }
        let transcript = run(&database.target, &script, Options::default())?;
        for (case, isolation, first) in runs {
            let at = || {
                let mut part = transcript.clone();
                part.events
                    .retain(|event| (first..first + 10).contains(&event.step));
                format!(
                    "{}, {}, {}\n{part}",
                    case.name,
                    engine.name(),
                    isolation.sql()
                )
            };
            let committed = isolation == Isolation::ReadCommitted;
            let wanted = if committed {
                case.committed
            } else {
                case.repeatable
            };
            ensure!(transcript.waited(first + 4), "no wait: {}", at());
            let told = answer(&transcript, first + 4);
            ensure!(told == wanted, "{told}, not {wanted}: {}", at());
            let left = answer(&transcript, first + 8);
            let expected = kind.words(case.left);
            ensure!(
                !committed || left == expected,
                "left {left}, not {expected}: {}",
                at()
            );
            let orphan = answer(&transcript, first + 9);
            ensure!(orphan.is_empty(), "{orphan}: {}", at());
            count += 1;
        }
    }
    Ok(Outcome::Passed(format!("{count} schedules")))
}
