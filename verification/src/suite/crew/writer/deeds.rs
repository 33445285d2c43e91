//! What a writer does: each deed is one transaction, and what it changes in the ledger.

use super::{id_of, number_in, resource, run, yes, Deed, Writer, LONG, RESOURCES};
use crate::session::Session;
use crate::suite::crew::ledger::Changes;
use anyhow::anyhow;

impl Writer {
    /// A task under the first tree, with a scope, turns, an artifact, a note.
    pub(super) fn task(&mut self, session: &mut Session) -> Deed {
        let n = self.new_number();
        let root = self.id("task", 1);
        let [task, scope, artifact, note] =
            ["task", "scope", "artifact", "note"].map(|kind| self.id(kind, n));
        let [first, second, third] = [0, 1, 2].map(|k| self.id("turn", n * 1000 + k));
        run(session, &format!("SELECT caliber_trajectory_create('task', parent_trajectory_id => '{root}', id => '{task}')"))?;
        run(
            session,
            &format!("SELECT caliber_scope_create('{task}', 'scope', id => '{scope}')"),
        )?;
        run(
            session,
            &format!(
                "SELECT caliber_turn_create('{scope}', NULL, 'user', 'first', id => '{first}')"
            ),
        )?;
        run(
            session,
            &format!(
                r#"SELECT * FROM caliber_turn_create_many('{scope}', '[{{"role": "tool", "content": "many", "id": "{second}"}},
                {{"role": "tool", "content": "many", "id": "{third}"}}]')"#
            ),
        )?;
        run(session, &format!(
            "SELECT caliber_artifact_create('{task}', '{scope}', 'fact', 'n', repeat('artifact-{n:03}', {LONG} / 12), embedding => '[1,{n},2]', id => '{artifact}')"))?;
        run(session, &format!(
            "SELECT caliber_note_create('fact', 'note', 'c', source_trajectory_ids => ARRAY['{task}', '{root}']::uuid[], embedding => '[{n},1,2]', id => '{note}')"))?;
        let text = format!("artifact-{n:03}");
        let length = text.len() as u64 * (LONG / 12);
        let shown: String = text.repeat(2).chars().take(12).collect();
        let turn = |k: u64, content: &str| Some(format!("{scope}|{k}|{content}"));
        Ok([
            (
                format!("task/{task}"),
                Some(format!("active|{root}|{root}")),
            ),
            (format!("scope/{scope}"), Some("true|0".to_owned())),
            (format!("turn/{first}"), turn(0, "first")),
            (format!("turn/{second}"), turn(1, "many")),
            (format!("turn/{third}"), turn(2, "many")),
            (
                format!("artifact/{artifact}"),
                Some(format!("{shown}|{length}|true")),
            ),
            (format!("note/{note}"), Some("note|0".to_owned())),
        ]
        .into())
    }

    /// Counts tokens, adds a turn, touches the note.
    pub(super) fn tokens(&mut self, session: &mut Session) -> Deed {
        let Some(n) = self.some("scope", |state| state.starts_with("true")) else {
            return Ok(Changes::new());
        };
        let [scope, note] = ["scope", "note"].map(|kind| self.id(kind, n));
        let tokens = self.new_number();
        let turns = self
            .ledger
            .of("turn")
            .filter(|(id, _)| number_in(id) / 1000 == n)
            .count() as u64;
        let turn = self.id("turn", n * 1000 + turns);
        run(
            session,
            &format!("SELECT caliber_scope_update_tokens('{scope}', {tokens})"),
        )?;
        run(session, &format!("SELECT caliber_turn_create('{scope}', NULL, 'user', 'turn {tokens}', {tokens}, id => '{turn}')"))?;
        let mut changes: Changes = [
            (format!("scope/{scope}"), Some(format!("true|{tokens}"))),
            (
                format!("turn/{turn}"),
                Some(format!("{scope}|{turns}|turn {tokens}")),
            ),
        ]
        .into();
        let name = format!("note/{note}");
        if let Some((title, count)) = self
            .ledger
            .known()
            .get(&name)
            .and_then(|state| state.rsplit_once('|'))
        {
            run(session, &format!("SELECT caliber_note_touch('{note}')"))?;
            let count = count.parse::<u64>().unwrap_or(0) + 1;
            changes.insert(name, Some(format!("{title}|{count}")));
        }
        Ok(changes)
    }

    /// The agent begins or leaves work; its heart beats.
    pub(super) fn at_work(&mut self, session: &mut Session) -> Deed {
        let agent = self.agent();
        let name = format!("agent/{agent}");
        run(
            session,
            &format!("SELECT caliber_agent_heartbeat('{agent}')"),
        )?;
        if self
            .ledger
            .known()
            .get(&name)
            .is_some_and(|state| state.starts_with("active"))
        {
            run(session, &format!("SELECT caliber_agent_release('{agent}')"))?;
            return Ok([(name, Some("idle|".to_owned()))].into());
        }
        let Some(n) = self.some("scope", |_| true) else {
            return Ok(Changes::new());
        };
        let [task, scope] = ["task", "scope"].map(|kind| self.id(kind, n));
        run(
            session,
            &format!("SELECT caliber_agent_assign('{agent}', '{task}', '{scope}')"),
        )?;
        Ok([(name, Some(format!("active|{scope}")))].into())
    }

    /// A scope is closed, its task completed, its artifact replaced.
    pub(super) fn finish(&mut self, session: &mut Session) -> Deed {
        let Some(n) = self.some("scope", |state| state.starts_with("true")) else {
            return Ok(Changes::new());
        };
        let root = self.id("task", 1);
        let [task, scope, artifact] = ["task", "scope", "artifact"].map(|kind| self.id(kind, n));
        let tokens = self
            .ledger
            .known()
            .get(&format!("scope/{scope}"))
            .and_then(|s| s.split('|').nth(1))
            .unwrap_or_default()
            .to_owned();
        run(session, &format!("SELECT caliber_scope_close('{scope}')"))?;
        run(
            session,
            &format!(
                r#"SELECT caliber_trajectory_set_status('{task}', 'completed', '{{"n": {n}}}')"#
            ),
        )?;
        run(
            session,
            &format!(
                r#"SELECT caliber_artifact_update('{artifact}', '{{"content": "short", "embedding": [3,2,1]}}')"#
            ),
        )?;
        Ok([
            (format!("scope/{scope}"), Some(format!("false|{tokens}"))),
            (
                format!("task/{task}"),
                Some(format!("completed|{root}|{root}|{{\"n\": {n}}}")),
            ),
            (
                format!("artifact/{artifact}"),
                Some("short|5|true".to_owned()),
            ),
        ]
        .into())
    }

    /// What a finished task left is deleted.
    pub(super) fn remove(&mut self, session: &mut Session) -> Deed {
        let Some(n) = self.some("artifact", |state| state.starts_with("short")) else {
            return Ok(Changes::new());
        };
        let [artifact, note] = ["artifact", "note"].map(|kind| self.id(kind, n));
        let turns: Vec<String> = self
            .ledger
            .of("turn")
            .filter(|(id, _)| number_in(id) / 1000 == n)
            .map(|(id, _)| id.to_owned())
            .collect();
        let mut changes: Changes = [
            (format!("artifact/{artifact}"), None),
            (format!("note/{note}"), None),
        ]
        .into();
        run(
            session,
            &format!("SELECT caliber_artifact_delete('{artifact}')"),
        )?;
        run(session, &format!("SELECT caliber_note_delete('{note}')"))?;
        for turn in turns {
            run(session, &format!("SELECT caliber_turn_delete('{turn}')"))?;
            changes.insert(format!("turn/{turn}"), None);
        }
        Ok(changes)
    }

    /// Messages to the next writer's agent, to any worker, and two at once.
    pub(super) fn send(&mut self, session: &mut Session) -> Deed {
        let n = self.new_number();
        let (agent, other) = (self.agent(), id_of(self.number ^ 1, "agent", 1));
        let [one, two, three, four] = [0, 1, 2, 3].map(|k| self.id("message", n * 10 + k));
        run(session, &format!("SELECT caliber_message_send('{agent}', '{other}', NULL, 'context_share', 'one', id => '{one}')"))?;
        run(session, &format!("SELECT caliber_message_send('{agent}', NULL, 'worker', 'context_share', 'two', priority => 'high', id => '{two}')"))?;
        let element = |id: &str| {
            format!(
                r#"{{"from_agent_id": "{agent}", "to_agent_type": "worker", "message_type": "interrupt", "payload": "many", "id": "{id}"}}"#
            )
        };
        run(
            session,
            &format!(
                "SELECT * FROM caliber_message_send_many('[{}, {}]')",
                element(&three),
                element(&four)
            ),
        )?;
        Ok([
            (format!("message/{one}"), Some(format!("one|{other}"))),
            (format!("message/{two}"), Some("two|worker".to_owned())),
            (format!("message/{three}"), Some("many|worker".to_owned())),
            (format!("message/{four}"), Some("many|worker".to_owned())),
        ]
        .into())
    }

    /// Takes messages that nobody else takes, and acknowledges some.
    pub(super) fn receive(&mut self, session: &mut Session) -> Deed {
        let agent = self.agent();
        let found = session.query(&format!(
            "SELECT message_id FROM caliber_message_receive('{agent}', 4)"
        ))?;
        let mut changes = Changes::new();
        for (k, message) in found.column().into_iter().flatten().enumerate() {
            if k % 2 == 0 {
                run(
                    session,
                    &format!("SELECT caliber_message_acknowledge('{message}')"),
                )?;
            }
            changes.insert(
                format!("received/{message}"),
                Some(format!("{agent}|{}", k % 2 == 0)),
            );
        }
        Ok(changes)
    }

    /// Work for any other worker: a delegation, and a handoff of a scope.
    pub(super) fn delegate(&mut self, session: &mut Session) -> Deed {
        let n = self.new_number();
        let (agent, task) = (self.agent(), self.id("task", 2));
        let delegation = self.id("delegation", n * 2);
        run(session, &format!("SELECT caliber_delegation_create('{agent}', NULL, 'worker', 'work', '{task}', id => '{delegation}')"))?;
        let mut changes: Changes =
            [(format!("delegation/{delegation}"), Some("work".to_owned()))].into();
        if let Some(own) = self.some("scope", |_| true) {
            let [task, scope] = ["task", "scope"].map(|kind| self.id(kind, own));
            let handoff = self.id("delegation", n * 2 + 1);
            run(session, &format!(
                "SELECT caliber_handoff_create('{agent}', NULL, 'worker', '{task}', '{scope}', '{scope}', handoff_notes => 'mind', id => '{handoff}')"))?;
            changes.insert(format!("handoff/{handoff}"), Some("mind".to_owned()));
        }
        Ok(changes)
    }

    /// Accepts what others may accept at the same moment, and finishes some.
    pub(super) fn accept(&mut self, session: &mut Session) -> Deed {
        let agent = self.agent();
        let found = session.query(&format!(
            "SELECT delegation_id FROM caliber_delegation_list_pending('worker') WHERE delegator_agent_id <> '{agent}' LIMIT 2"))?;
        let mut changes = Changes::new();
        for id in found.column().into_iter().flatten() {
            if !yes(
                session,
                &format!("SELECT caliber_delegation_accept('{id}', '{agent}')"),
            )? {
                continue;
            }
            let mut status = "accepted";
            if self.dice.roll(2) == 0 {
                run(session, &format!("SELECT caliber_delegation_complete('{id}', true, 'done', agent_id => '{agent}')"))?;
                status = "completed";
            }
            changes.insert(format!("accepted/{id}"), Some(format!("{status}|{agent}")));
            changes.insert(format!("child/{id}"), Some(format!("active|{agent}|work")));
        }
        Ok(changes)
    }

    pub(super) fn take_over(&mut self, session: &mut Session) -> Deed {
        let agent = self.agent();
        let found = session.query(&format!(
            "SELECT handoff_id FROM caliber_handoff_list_for_agent('{agent}', max_rows => 2)"
        ))?;
        let mut changes = Changes::new();
        for id in found.column().into_iter().flatten() {
            if !yes(
                session,
                &format!("SELECT caliber_handoff_accept('{id}', '{agent}')"),
            )? {
                continue;
            }
            run(
                session,
                &format!("SELECT caliber_handoff_complete('{id}', '{agent}')"),
            )?;
            changes.insert(format!("taken/{id}"), Some(format!("completed|{agent}")));
        }
        Ok(changes)
    }

    /// A resource of which this writer has no lock.
    fn free(&mut self) -> Option<String> {
        let wanted = resource(self.dice.roll(RESOURCES));
        let held = self
            .ledger
            .of("lock")
            .any(|(_, state)| state.contains(&wanted));
        (!held).then_some(wanted)
    }

    /// A lease or a session lock, if nobody has it.
    pub(super) fn lock(&mut self, session: &mut Session) -> Deed {
        let Some(wanted) = self.free() else {
            return Ok(Changes::new());
        };
        let n = self.new_number();
        let (agent, lock) = (self.agent(), self.id("lock", n));
        let level = ["lease", "session"][self.dice.roll(2) as usize];
        let mode = ["exclusive", "shared"][self.dice.roll(2) as usize];
        let got = session.query(&format!(
            "SELECT caliber_lock_acquire('{agent}', 'file', '{wanted}', 3600000, '{mode}', '{level}', '{lock}')"))?;
        match got.column().into_iter().flatten().next() {
            None => Ok(Changes::new()),
            Some(id) if id == lock => Ok([(
                format!("lock/{lock}"),
                Some(format!("{level}|{wanted}|{agent}")),
            )]
            .into()),
            Some(other) => Err(anyhow!("got lock {other} instead of {lock}").into()),
        }
    }

    pub(super) fn unlock(&mut self, session: &mut Session) -> Deed {
        let Some(n) = self.some("lock", |_| true) else {
            return Ok(Changes::new());
        };
        let lock = self.id("lock", n);
        if !yes(session, &format!("SELECT caliber_lock_release('{lock}')"))? {
            return Err(anyhow!("lock {lock} was acknowledged and is not there").into());
        }
        Ok([(format!("lock/{lock}"), None)].into())
    }

    /// Work behind a lock of the transaction, whose row nobody ever sees.
    pub(super) fn fence(&mut self, session: &mut Session) -> Deed {
        let Some(wanted) = self.free() else {
            return Ok(Changes::new());
        };
        let n = self.new_number();
        let (agent, lock) = (self.agent(), self.id("lock", n));
        run(session, &format!(
            "SELECT caliber_lock_acquire('{agent}', 'file', '{wanted}', 60000, 'exclusive', 'transaction', '{lock}')"))?;
        self.tokens(session)
    }

    /// The branch goes under the other tree: its root changes, and its leaf's.
    pub(super) fn move_branch(&mut self, session: &mut Session) -> Deed {
        let [a, b, branch, leaf] = [1, 2, 3, 4].map(|n| self.id("task", n));
        let name = format!("task/{branch}");
        let to = if self
            .ledger
            .known()
            .get(&name)
            .is_some_and(|state| state.contains(&a))
        {
            b
        } else {
            a
        };
        run(
            session,
            &format!(
                r#"SELECT caliber_trajectory_update('{branch}', '{{"parent_trajectory_id": "{to}"}}')"#
            ),
        )?;
        Ok([
            (name, Some(format!("active|{to}|{to}"))),
            (
                format!("task/{leaf}"),
                Some(format!("active|{branch}|{to}")),
            ),
        ]
        .into())
    }

    pub(super) fn conflict(&mut self, session: &mut Session) -> Deed {
        let n = self.new_number();
        let conflict = self.id("conflict", n);
        run(session, &format!(
            "SELECT caliber_conflict_create('goal_conflict', 'artifact', '{conflict}', 'note', '{conflict}', id => '{conflict}')"))?;
        run(
            session,
            &format!("SELECT caliber_conflict_resolve('{conflict}', 'merge')"),
        )?;
        Ok([(format!("conflict/{conflict}"), Some("resolved".to_owned()))].into())
    }
}
