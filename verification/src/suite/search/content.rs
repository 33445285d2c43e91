//! Hashes of contents, in databases of any encoding, and what is computed
//! beside them: provenance.

use super::{rows, ENGINES, SCENE, SCOPE, TASK};
use crate::runner::{Context, Outcome, Test};
use crate::suite::desk;
use anyhow::{ensure, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "search::content_hash",
            "content_hash is the SHA-256 of the content's UTF-8 bytes, whatever the database's encoding",
            content_hash,
        ),
        Test::new(
            "search::provenance",
            "provenance holds what create was given, numbers digit by digit",
            provenance,
        ),
    ]
}

/// Contents as SQL writes them, and their UTF-8 bytes. What LATIN1 cannot hold
/// is for UTF8 only.
const CONTENTS: &[(&str, &str)] = &[
    ("''", "''"),
    ("'plain'", "'plain'"),
    ("repeat('x', 100000)", "repeat('x', 100000)::bytea"),
    ("chr(233) || 't' || chr(233)", r"'\xc3a974c3a9'"),
    ("chr(255) || chr(160)", r"'\xc3bfc2a0'"),
];
const UNICODE: &[(&str, &str)] = &[
    ("chr(8364)", r"'\xe282ac'"),
    ("chr(128512) || chr(769)", r"'\xf09f9880cc81'"),
];

fn content_hash(context: &Context) -> Result<Outcome> {
    let mut checked = 0;
    for encoding in ["UTF8", "LATIN1", "SQL_ASCII", "EUC_JP"] {
        let name = format!("verify_{}_{}", std::process::id(), encoding.to_lowercase());
        let empty = context.server.empty_database()?;
        let mut admin = empty.connect()?;
        admin.batch(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        ))?;
        let target = context.server.target().database(&name);
        let mut session = crate::session::Session::connect(&target)?;
        session.batch(&format!(
            "CREATE EXTENSION caliber_pg CASCADE; SELECT caliber_init(); {SCENE}"
        ))?;
        let contents: Vec<&(&str, &str)> = match encoding {
            "UTF8" => CONTENTS.iter().chain(UNICODE).collect(),
            "LATIN1" => CONTENTS.iter().collect(),
            _ => CONTENTS.iter().take(3).collect(),
        };
        // In a SQL_ASCII database the bytes are what they are.
        let raw = (
            r"convert_from('\xc3a9ff'::bytea, 'SQL_ASCII')",
            r"'\xc3a9ff'",
        );
        // あ, which EUC_JP stores as other bytes.
        let japanese = (r"convert_from('\xa4a2'::bytea, 'EUC_JP')", r"'\xe38182'");
        let more = match encoding {
            "SQL_ASCII" => vec![&raw],
            "EUC_JP" => vec![&japanese],
            _ => vec![],
        };
        for engine in ENGINES {
            for sql in desk::setup(engine) {
                session.batch(&sql)?;
            }
            for (content, bytes) in contents.iter().chain(&more) {
                let expected = format!("sha256({bytes}::bytea)");
                session.batch("DELETE FROM caliber_artifact; DELETE FROM caliber_note")?;
                session.batch(&format!(
                    "SELECT caliber_artifact_create({TASK}, {SCOPE}, 'fact', 'created', {content});
                     SELECT caliber_artifact_create_many({TASK}, {SCOPE}, jsonb_build_array(jsonb_build_object('artifact_type', 'fact', 'name', 'many', 'content', CASE WHEN {many} THEN {content} ELSE '' END)));
                     SELECT caliber_note_create('fact', 'created', {content});
                     SELECT caliber_artifact_update(caliber_artifact_create({TASK}, {SCOPE}, 'fact', 'updated', 'x'), jsonb_build_object('content', CASE WHEN {many} THEN {content} ELSE '' END));
                     SELECT caliber_note_update(caliber_note_create('fact', 'updated', 'x'), jsonb_build_object('content', CASE WHEN {many} THEN {content} ELSE '' END))",
                    // jsonb takes what can be UTF-8 only.
                    many = *bytes != raw.1
                ))?;
                for table in ["artifact", "note"] {
                    let wrong = session.value(&format!(
                        "SELECT count(*) FROM caliber_{table} WHERE content_hash IS DISTINCT FROM CASE WHEN content = {content} THEN {expected} ELSE sha256('') END"
                    ))?;
                    let stored = session.value(&format!(
                        "SELECT count(*) FROM caliber_{table} WHERE content_hash = {expected}"
                    ))?;
                    let few = stored.as_deref() == Some("0");
                    ensure!(
                        wrong.as_deref() == Some("0") && !few,
                        "{encoding}, {}: {table} with content {content}: {wrong:?} wrong, {stored:?} right",
                        engine.name()
                    );
                }
                checked += 1;
            }
        }
        drop(session);
        admin.batch(&format!("DROP DATABASE {name} WITH (FORCE)"))?;
    }
    Ok(Outcome::Passed(format!("{checked} contents")))
}

fn provenance(context: &Context) -> Result<Outcome> {
    let mut desks = desk::open(context, &ENGINES, SCENE)?;
    for desk in &mut desks {
        let session = &mut desk.session;
        for digits in ["1", "0", "-1"] {
            for confidence in [
                "NULL",
                "0",
                "1",
                "-0.0",
                "0.1",
                "0.5",
                "0.333333333",
                "1e-45",
                "1e-10",
                "0.99999994",
            ] {
                for turn in [0, 7, i32::MAX] {
                    // What is stored does not depend on how this client wants numbers shown.
                    session.batch(&format!(
                        "DELETE FROM caliber_artifact; SET extra_float_digits = {digits}"
                    ))?;
                    session.batch(&format!(
                        "SELECT caliber_artifact_create({TASK}, {SCOPE}, 'fact', 'x', '', {turn}, 'inferred', '{confidence}'::real)"
                    ).replace("'NULL'", "NULL"))?;
                    let wanted = format!(
                        "jsonb_build_object('source_turn', {turn}, 'extraction_method', 'inferred', 'confidence', to_jsonb('{confidence}'::real))"
                    ).replace("'NULL'", "NULL");
                    session.batch("SET extra_float_digits = 1")?;
                    let found = rows(session, &format!(
                        "SELECT provenance = {wanted}, provenance::text = ({wanted})::text, provenance FROM caliber_artifact"
                    ))?;
                    ensure!(
                        found.first().is_some_and(|row| row.starts_with("t t ")),
                        "{}: extra_float_digits {digits}, {confidence}, {turn}: {found:?}",
                        desk.engine.name()
                    );
                }
            }
        }
    }
    Ok(Outcome::Passed("30 confidences".to_owned()))
}
