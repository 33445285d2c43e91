//! Accepting with a new child is one statement: the client's CTE is the judge
//! of triggers, vetoes, checks and their order.

use super::super::desk::{self, Desk};
use super::super::work::{ids, outcome, DELEGATION};
use crate::judge::{without_moments, Engine};
use crate::runner::{Context, Outcome, Test};
use crate::session::ServerError;
use anyhow::{ensure, Context as _, Result};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new(
            "delegations::statement",
            "triggers fire as for the one statement of the client, in its order",
            triggers,
        ),
        Test::new(
            "delegations::vetoes",
            "vetoes and failing checks on either table: as the client's statement",
            vetoes,
        )
        .with_takeovers(),
    ]
}

/// What the client sends. `@c0` stands for the child.
const CLIENT: &str = "WITH u AS (UPDATE caliber_delegation SET delegatee_agent_id = '@b', status = 'accepted', accepted_at = now(), child_trajectory_id = '@8'
    WHERE delegation_id = '@9' AND status IS NOT DISTINCT FROM 'pending' AND delegator_agent_id IS NOT DISTINCT FROM '@a'
        AND delegatee_agent_id IS NOT DISTINCT FROM NULL AND delegatee_agent_type IS NOT DISTINCT FROM 'worker'
        AND child_trajectory_id IS NOT DISTINCT FROM NULL AND parent_trajectory_id IS NOT DISTINCT FROM '@2' RETURNING 1)
    INSERT INTO caliber_trajectory (trajectory_id, name, description, status, parent_trajectory_id, root_trajectory_id, agent_id,
        created_at, updated_at, completed_at, outcome, metadata)
    SELECT '@8', 'Mend the roof', NULL, 'active', '@2', '@1', '@b', now(), now(), NULL, NULL, '{\"delegation_id\": \"@9\"}' FROM u";

/// Triggers of every kind, which write down what they see.
const DIARY: &str = r"
CREATE TABLE diary (n serial, line text);
CREATE FUNCTION see() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT format('%s of %s, %s tasks', (SELECT string_agg(status, ' ') FROM caliber_delegation),
        (SELECT count(child_trajectory_id) FROM caliber_delegation), (SELECT count(*) FROM caliber_trajectory)) $$;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO diary (line) VALUES (concat_ws(' ', TG_TABLE_NAME, TG_OP, TG_WHEN, TG_LEVEL, TG_NAME, see()));
    RETURN NEW; END $$;
CREATE FUNCTION note_old_new() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO diary (line) SELECT concat_ws(' ', TG_NAME, 'old', o.status, 'new', n.status, n.delegatee_agent_type) FROM o, n; RETURN NULL; END $$;
CREATE FUNCTION note_new() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO diary (line) SELECT concat_ws(' ', TG_NAME, n.name, n.status) FROM n; RETURN NULL; END $$;
CREATE TRIGGER b1 BEFORE UPDATE ON caliber_delegation FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER b2 BEFORE UPDATE ON caliber_delegation FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER b3 BEFORE UPDATE OF child_trajectory_id ON caliber_delegation FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER b4 BEFORE UPDATE OF result ON caliber_delegation FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER a1 AFTER UPDATE ON caliber_delegation FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER a2 AFTER UPDATE ON caliber_delegation FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER a3 AFTER UPDATE OF child_trajectory_id ON caliber_delegation FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER a4 AFTER UPDATE ON caliber_delegation REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION note_old_new();
CREATE TRIGGER A5 AFTER UPDATE ON caliber_delegation FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION note();
CREATE CONSTRAINT TRIGGER a6 AFTER UPDATE ON caliber_delegation DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER b1 BEFORE INSERT ON caliber_trajectory FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER b2 BEFORE INSERT ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER a1 AFTER INSERT ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER a2 AFTER INSERT ON caliber_trajectory FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TRIGGER a3 AFTER INSERT ON caliber_trajectory REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION note_new();
CREATE CONSTRAINT TRIGGER a4 AFTER INSERT ON caliber_trajectory DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()";

/// Both tables, the diary, and whether the statement moved the row. The id of
/// the child is another one in each database.
fn left(desk: &mut Desk) -> Result<Vec<String>> {
    let child = desk
        .session
        .value("SELECT child_trajectory_id FROM caliber_delegation")?;
    let mut lines = Vec::new();
    for sql in [
        "SELECT x::text FROM caliber_delegation x",
        "SELECT x::text FROM caliber_trajectory x ORDER BY name",
        "SELECT line FROM diary ORDER BY n",
    ] {
        let rows = desk.session.query(sql)?.column();
        lines.extend(rows.into_iter().flatten().map(|line| {
            let line = without_moments(&line);
            child
                .as_ref()
                .map_or(line.clone(), |child| line.replace(child, "CHILD"))
        }));
    }
    Ok(lines)
}

/// Accepts as the desk does.
fn accept(desk: &mut Desk) -> Result<std::result::Result<bool, ServerError>> {
    if desk.engine == Engine::Client {
        return Ok(match desk.session.run(&ids(CLIENT)) {
            Ok(replies) => Ok(replies.iter().any(|reply| reply.count > 0)),
            Err(crate::session::Failure::Error(error)) => Err(*error),
            Err(lost) => return Err(lost.into()),
        });
    }
    let answer = outcome(&mut desk.session, &DELEGATION.accept("@9", "@b"))?;
    Ok(answer.map(|value| value.as_deref() == Some("t")))
}

fn triggers(context: &Context) -> Result<Outcome> {
    let prepare = format!("{DIARY}; {}", DELEGATION.put("@9", "worker", "pending"));
    let mut desks = DELEGATION.desks(context, &desk::ALL, &prepare)?;
    for desk in &mut desks {
        desk.session.batch("TRUNCATE diary")?;
    }
    let mut told = Vec::new();
    for desk in &mut desks {
        // Deferred triggers fire at the commit.
        desk.session.batch("BEGIN")?;
        let moved = accept(desk)?;
        ensure!(moved == Ok(true), "{}: {moved:?}", desk.engine.name());
        let mut lines = left(desk)?;
        desk.session.batch("COMMIT")?;
        lines.push("committed".to_owned());
        lines.extend(left(desk)?);
        told.push((desk.engine, lines));
    }
    let Some((_, client)) = told.last().cloned() else {
        anyhow::bail!("no desks")
    };
    ensure!(client.len() > 30, "little was written: {client:#?}");
    for (engine, lines) in &told {
        ensure!(
            *lines == client,
            "{}: {lines:#?}\nthe client: {client:#?}",
            engine.name()
        );
    }
    // Once more: who comes too late fires no trigger but those of the read.
    for desk in &mut desks {
        desk.session.batch("TRUNCATE diary")?;
        let moved = accept(desk)?;
        ensure!(moved == Ok(false), "{}: {moved:?}", desk.engine.name());
    }
    Ok(Outcome::Passed(format!("{} lines", client.len())))
}

/// What stands in the way, and what comes of it.
const VETOES: &[(&str, &str, &str)] = &[
    ("a veto of the move",
     "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TRIGGER no BEFORE UPDATE ON caliber_delegation FOR EACH ROW EXECUTE FUNCTION no()", "f"),
    ("a veto of the child",
     "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TRIGGER no BEFORE INSERT ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION no()", "23503"),
    ("a veto of the child, without its key",
     "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TRIGGER no BEFORE INSERT ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION no();
      ALTER TABLE caliber_delegation DROP CONSTRAINT caliber_delegation_child_trajectory_id_fkey", "f"),
    ("a trigger of the move that raises",
     "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = '45000', CONSTRAINT = 'c'; END $$;
      CREATE TRIGGER no AFTER UPDATE ON caliber_delegation FOR EACH ROW EXECUTE FUNCTION no()", "45000"),
    ("triggers of both that raise",
     "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE '%', TG_TABLE_NAME USING ERRCODE = '45001'; END $$;
      CREATE TRIGGER no BEFORE UPDATE ON caliber_delegation EXECUTE FUNCTION no();
      CREATE TRIGGER no BEFORE INSERT ON caliber_trajectory EXECUTE FUNCTION no()", "45001"),
    ("triggers of both that raise in the end",
     "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE '%', TG_TABLE_NAME USING ERRCODE = '45002'; END $$;
      CREATE TRIGGER no AFTER UPDATE ON caliber_delegation EXECUTE FUNCTION no();
      CREATE TRIGGER no AFTER INSERT ON caliber_trajectory EXECUTE FUNCTION no()", "45002"),
    ("a trigger of the child that raises, and the key of the delegation",
     "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE '%', TG_TABLE_NAME USING ERRCODE = '45003'; END $$;
      CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.trajectory_id = gen_random_uuid(); RETURN NEW; END $$;
      CREATE TRIGGER no AFTER INSERT ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION no();
      CREATE TRIGGER gone BEFORE INSERT ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION gone()", "23503"),
    ("a CHECK of the delegation",
     "ALTER TABLE caliber_delegation ADD CONSTRAINT no CHECK (status <> 'accepted')", "23514"),
    ("a CHECK of the child",
     "ALTER TABLE caliber_trajectory ADD CONSTRAINT no CHECK (name <> 'Mend the roof')", "23514"),
    ("a unique key of the child",
     "CREATE UNIQUE INDEX no ON caliber_trajectory (status) WHERE name <> 'below'; UPDATE caliber_trajectory SET status = 'failed' WHERE name = 'below'", "23505"),
    ("a key of the child",
     "CREATE TABLE few (name text PRIMARY KEY); ALTER TABLE caliber_trajectory ADD CONSTRAINT no FOREIGN KEY (name) REFERENCES few NOT VALID", "23503"),
    ("a trigger that changes both",
     "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.additional_context = 'other'; RETURN NEW; END $$;
      CREATE FUNCTION other_name() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.description = 'other'; RETURN NEW; END $$;
      CREATE TRIGGER o BEFORE UPDATE ON caliber_delegation FOR EACH ROW EXECUTE FUNCTION other();
      CREATE TRIGGER o BEFORE INSERT ON caliber_trajectory FOR EACH ROW EXECUTE FUNCTION other_name()", "t"),
    ("a trigger that forgets the child",
     "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.child_trajectory_id = NULL; RETURN NEW; END $$;
      CREATE TRIGGER o BEFORE UPDATE ON caliber_delegation FOR EACH ROW EXECUTE FUNCTION other()", "t"),
    ("a trigger of the statement that changes the row",
     "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE caliber_delegation SET deadline = now() WHERE deadline IS NULL; RETURN NULL; END $$;
      CREATE TRIGGER o BEFORE INSERT ON caliber_trajectory FOR EACH STATEMENT EXECUTE FUNCTION other()", "27000"),
    // SQL's own limit: a rule that makes several statements of one with a CTE.
    ("a rule of the child",
     "CREATE TABLE heard (name text); CREATE RULE r AS ON INSERT TO caliber_trajectory DO ALSO INSERT INTO heard VALUES ('x')", "0A000"),
];

fn vetoes(context: &Context) -> Result<Outcome> {
    let prepare = format!(
        "{}; CREATE TABLE diary (n int, line text)",
        DELEGATION.put("@9", "worker", "pending")
    );
    let mut desks = DELEGATION.desks(context, &desk::ALL, &prepare)?;
    for (name, make, wanted) in VETOES {
        veto(&mut desks, make, wanted).with_context(|| (*name).to_owned())?;
    }
    Ok(Outcome::Passed(format!("{} ways", VETOES.len())))
}

fn veto(desks: &mut [Desk], make: &str, wanted: &str) -> Result<()> {
    let mut told = Vec::new();
    for desk in desks {
        desk.session
            .batch(&format!("BEGIN; {make}; SAVEPOINT before"))?;
        // The key that is missing is another one in each database.
        let answer = match accept(desk)? {
            Ok(true) => "t".to_owned(),
            Ok(false) => "f".to_owned(),
            Err(error) => {
                desk.session.batch("ROLLBACK TO before")?;
                without_ids(&without_moments(&error.to_string()))
            }
        };
        let name = desk.engine.name();
        ensure!(
            answer.split(':').next() == Some(wanted),
            "{name}: {answer}, not {wanted}"
        );
        told.push((name, answer, left(desk)?));
        desk.session.batch("ROLLBACK")?;
    }
    let Some((_, client, rows)) = told.last() else {
        anyhow::bail!("no desks")
    };
    for (name, answer, left) in &told {
        ensure!(answer == client, "{name}: {answer}\nthe client: {client}");
        let (left, rows): (Vec<_>, Vec<_>) = (
            left.iter().map(|line| without_ids(line)).collect(),
            rows.iter().map(|line| without_ids(line)).collect(),
        );
        ensure!(left == rows, "{name}: {left:#?}\nthe client: {rows:#?}");
    }
    Ok(())
}

/// Replaces the ids that were made up on the way: those that are not written
/// as `@n`, and the client's for the child.
fn without_ids(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text.replace(&ids("@8"), "CHILD");
    while let Some(at) = rest.find('-') {
        // A uuid has its first hyphen behind eight digits.
        let uuid = at
            .checked_sub(8)
            .and_then(|start| Some((start, rest.get(start..start + 36)?.to_owned())))
            .filter(|(_, id)| uuid::Uuid::parse_str(id).is_ok());
        match uuid {
            Some((start, id)) => {
                shown += &rest[..start];
                shown += if id.starts_with("00000000") {
                    &id
                } else {
                    "CHILD"
                };
                rest = rest[start + 36..].to_owned();
            }
            None => {
                shown += &rest[..=at];
                rest = rest[at + 1..].to_owned();
            }
        }
    }
    shown + &rest
}
