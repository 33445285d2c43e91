//! Rows that have the same key: a search finds each by itself.

use super::{rows, ENGINES, SCENE, SCOPE, TASK};
use crate::runner::{Context, Outcome, Test};
use crate::session::Session;
use crate::suite::desk;
use anyhow::{ensure, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new(
        "search::rows_of_one_key",
        "of two rows of a key, which a snapshot may see, or which are there without the key, each is found as it is",
        rows_of_one_key,
    )]
}

const ID: &str = "'00000000-0000-7000-8000-000000000101'";

/// What is found, through the index and without it …
const SEARCHES: [&str; 2] = [
    "SELECT (item).name, (item).content, distance FROM caliber_artifact_search('[1,2,3]', 5)",
    "SELECT (item).name, (item).content, distance FROM caliber_artifact_search('[1,2,3]', 5, '00000000-0000-7000-8000-000000000001')",
];
/// … and what each must be.
const COMPUTED: &str =
    "SELECT name, content, embedding <=> '[1,2,3]' FROM caliber_artifact ORDER BY 3, artifact_id, 1";

fn rows_of_one_key(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for desk in &mut desks {
        let name = desk.engine.name();
        let make = |id: &str, title: &str, embedding: &str| {
            format!("SELECT caliber_artifact_create({TASK}, {SCOPE}, 'fact', '{title}', 'by {title}', embedding => '{embedding}', id => {id})")
        };
        let other_id = ID.replace("101", "102");
        let scene = [
            make(ID, "theirs", "[3,2,1]"),
            make(&other_id, "another", "[3,3,1]"),
        ]
        .join(";");
        desk.session.batch(&scene)?;
        let mut other = desk.another()?;
        let session = &mut desk.session;
        let check = |session: &mut Session, count: usize| -> Result<()> {
            for search in SEARCHES {
                let (found, wanted) = (rows(session, search)?, rows(session, COMPUTED)?);
                ensure!(
                    found == wanted && found.len() == count,
                    "{name}: {search}\nfound  {found:#?}\nwanted {wanted:#?}"
                );
            }
            Ok(())
        };
        for end in [
            format!("DELETE FROM caliber_artifact WHERE artifact_id = {ID}"),
            format!("UPDATE caliber_artifact SET artifact_id = caliber_new_id() WHERE artifact_id = {ID}"),
        ] {
            session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
            check(session, 2)?;
            other.batch(&end)?;
            session.batch(&make(ID, "ours", "[1,2,3]"))?;
            check(session, 3)?;
            session.batch("ROLLBACK")?;
            other.batch("TRUNCATE caliber_artifact CASCADE")?;
            session.batch(&scene)?;
        }
        // Without a key, rows may have the same id, or none.
        session
            .batch("ALTER TABLE caliber_artifact DROP CONSTRAINT caliber_artifact_pkey CASCADE")?;
        session.batch("ALTER TABLE caliber_artifact ALTER artifact_id DROP NOT NULL")?;
        for (id, title) in [(ID, "copy"), ("NULL", "none")] {
            session.batch(&format!(
                "CREATE TEMP TABLE t AS SELECT * FROM caliber_artifact WHERE artifact_id = {ID} LIMIT 1;
                 UPDATE t SET artifact_id = {id}, name = '{title}', embedding = '[2,2,2]'; INSERT INTO caliber_artifact SELECT * FROM t; DROP TABLE t"
            ))?;
        }
        check(session, 4)?;
    }
    Ok(Outcome::Passed(format!("{} engines", ENGINES.len())))
}
