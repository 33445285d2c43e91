//! What is easier to test inside a server than over the wire, and the tables
//! of the extension that should change only on purpose.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

#[cfg(test)]
mod errors;

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use crate::engine::Entity;
    use crate::entity::agent::AGENT;
    use crate::entity::artifact::ARTIFACT;
    use crate::entity::conflict::CONFLICT;
    use crate::entity::delegation::DELEGATION;
    use crate::entity::handoff::HANDOFF;
    use crate::entity::lock::LOCK;
    use crate::entity::message::MESSAGE;
    use crate::entity::note::NOTE;
    use crate::entity::scope::SCOPE;
    use crate::entity::trajectory::{LIFE, TRAJECTORY};
    use crate::entity::turn::TURN;
    use crate::pg::random::new_id;
    use pgrx::prelude::*;

    fn one<T: FromDatum + IntoDatum>(sql: &str) -> Option<T> {
        Spi::get_one(sql).expect("the statement runs")
    }

    fn init() {
        Spi::run("SELECT caliber_init()").expect("caliber_init runs");
    }

    #[pg_test]
    fn new_ids_are_version_7_and_ascend_within_a_backend() {
        let ids: Vec<_> = (0..10_000).map(|_| new_id()).collect();
        assert!(ids.windows(2).all(|w| w[0] < w[1]), "ids ascend");
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
        assert!(ids
            .iter()
            .all(|id| id.get_variant() == uuid::Variant::RFC4122));
    }

    fn columns_match(entity: &Entity) {
        let expected: Vec<String> = entity
            .shape
            .columns
            .iter()
            .map(|c| c.name.to_owned())
            .collect();
        let found: Option<String> = one(&format!(
            "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped",
            entity.shape.table
        ));
        assert_eq!(found, Some(expected.join(",")));
        assert_eq!(
            entity.shape.columns[entity.key].name,
            format!("{}_id", entity.name)
        );
    }

    #[pg_test]
    fn the_description_of_each_entity_is_its_table() {
        init();
        let entities: [&Entity; 11] = [
            &TRAJECTORY,
            &SCOPE,
            &ARTIFACT,
            &NOTE,
            &TURN,
            &AGENT,
            &LOCK,
            &MESSAGE,
            &DELEGATION,
            &HANDOFF,
            &CONFLICT,
        ];
        entities.into_iter().for_each(columns_match);
    }

    #[pg_test]
    fn every_pair_of_states_follows_the_table_of_moves() {
        init();
        for &from in LIFE.states {
            for &to in LIFE.states {
                let id = new_id();
                Spi::run(&format!(
                    "INSERT INTO caliber_trajectory (trajectory_id, name, status)
                     VALUES ('{id}', 'x', '{from}')"
                ))
                .expect("the row is written");
                let moved = one::<String>(&format!(
                    "DO $$ BEGIN
                       PERFORM caliber_trajectory_set_status('{id}', '{to}');
                       PERFORM set_config('caliber_test.state', 'ok', true);
                     EXCEPTION WHEN object_not_in_prerequisite_state THEN
                       PERFORM set_config('caliber_test.state', 'refused', true);
                     END $$;
                     SELECT current_setting('caliber_test.state')"
                ));
                let allowed = from == to || LIFE.allows(from, to);
                let expected = if allowed { "ok" } else { "refused" };
                assert_eq!(moved.as_deref(), Some(expected), "{from} to {to}");
                let status = one::<String>(&format!(
                    "SELECT status FROM caliber_trajectory WHERE trajectory_id = '{id}'"
                ));
                assert_eq!(status.as_deref(), Some(if allowed { to } else { from }));
            }
        }
    }

    #[pg_test]
    fn all_counters_are_listed_from_the_start() {
        let names: Option<i64> = one("SELECT count(DISTINCT name) FROM caliber_counters()");
        assert_eq!(names, Some(crate::counters::all().count() as i64));
        let calls: Option<i64> =
            one("SELECT value FROM caliber_counters() WHERE name = 'calls.heap'");
        assert_eq!(calls, Some(0));
    }

    #[pg_test]
    fn numbers_in_updates_are_whole_or_refused() {
        init();
        let scope: Option<String> =
            one("SELECT caliber_scope_create(caliber_trajectory_create('t'), 's')::text");
        let scope = scope.expect("a scope");
        for (json, budget) in [
            ("8", 8),
            ("8.0", 8),
            ("1e3", 1000),
            ("2147483647", i32::MAX),
        ] {
            let updated: Option<bool> = one(&format!(
                "SELECT caliber_scope_update('{scope}', '{{\"token_budget\": {json}}}')"
            ));
            assert_eq!(updated, Some(true));
            let stored: Option<i32> = one(&format!(
                "SELECT token_budget FROM caliber_scope WHERE scope_id = '{scope}'"
            ));
            assert_eq!(stored, Some(budget), "{json}");
        }
    }

    #[pg_test(error = "\"token_budget\" in \"updates\" must be a whole number")]
    fn a_fraction_is_refused_where_an_integer_is_due() {
        init();
        Spi::run("SELECT caliber_scope_update(caliber_new_id(), '{\"token_budget\": 8.5}')")
            .expect("raises");
    }

    #[pg_test(error = "integer out of range")]
    fn a_number_beyond_integer_is_out_of_range() {
        init();
        Spi::run("SELECT caliber_scope_update(caliber_new_id(), '{\"token_budget\": 2147483648}')")
            .expect("raises");
    }

    #[pg_test]
    fn lock_keys_are_frozen() {
        use crate::pg::advisory::{tag_key, tree_key};
        // FNV-1a-64 of one zero byte, and of "tree", a zero byte and 16 zero bytes.
        assert_eq!(tag_key("", b""), 0xaf63_bd4c_8601_b7df);
        assert_eq!(tree_key(uuid::Uuid::nil()), tag_key("tree", &[0; 16]));
        assert_eq!(tag_key("a", b""), 0x089b_e207_b544_f1e4);
    }
}
