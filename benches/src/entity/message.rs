//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

/// What every message of an inbox passes.
macro_rules! branch {
    ($where:literal) => {
        concat!(
            "SELECT x.* FROM public.caliber_message x WHERE ",
            $where,
            " AND x.acknowledged_at IS NULL",
            " AND (x.expires_at IS NULL OR x.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp())"
        )
    };
}

/// The inbox: what is to the agent, to its type, to all, each through its partial index, sorted.
/// One branch for each priority would stop at the limit, but takes milliseconds to plan, and is
/// slower with a kept plan too where an inbox is no longer than the limit.
const INBOX: &str = concat!(
    "SELECT m.* FROM (",
    branch!("x.to_agent_id == :agent_id"),
    " UNION ALL ",
    branch!(
        "x.to_agent_type == (SELECT a.agent_type FROM public.caliber_agent a WHERE a.agent_id == :agent_id)
         AND (x.received_by IS NULL OR x.received_by == :agent_id)"
    ),
    " UNION ALL ",
    branch!("x.to_agent_id IS NULL AND x.to_agent_type IS NULL AND x.from_agent_id OPERATOR(pg_catalog.<>) :agent_id"),
    ") m WHERE :unacknowledged_only ORDER BY CASE m.priority WHEN 'critical' THEN 0 WHEN 'high' THEN 1
         WHEN 'normal' THEN 2 ELSE 3 END, m.message_id LIMIT :max_rows"
);

pub(super) static MESSAGE: Entity = Entity {
    name: "message",
    table: "caliber_message",
    key: "message_id",
    rows: &[
        ("message_id", "bench.message(n)"),
        ("from_agent_id", "bench.agent(n % 500)"),
        ("to_agent_id", "bench.agent(n / 100)"),
        ("message_type", "'context_share'"),
        ("payload", "repeat('what to know ', 10)"),
        ("trajectory_id", "bench.trajectory(n / 10000)"),
        ("scope_id", "bench.scope(n / 100)"),
        ("artifact_ids", "'{}'"),
        ("created_at", "now()"),
        ("priority", "'normal'"),
    ],
    operations: &[
        operation(
            Kind::Create,
            "send, caliber.notify off",
            "caliber_message_send",
            &[
                ("from_agent_id", "uuid", "bench.agent(h)"),
                ("to_agent_id", "uuid", "bench.agent(h + 1)"),
                ("to_agent_type", "text", "NULL"),
                ("message_type", "text", "'context_share'"),
                ("payload", "text", "repeat('what to know ', 10)"),
                ("trajectory_id", "uuid", "bench.trajectory(h / 100)"),
                ("scope_id", "uuid", "bench.scope(h)"),
            ],
            "uuid",
            "INSERT INTO public.caliber_message (message_id, from_agent_id, to_agent_id, to_agent_type, message_type, payload,
                 trajectory_id, scope_id, artifact_ids, created_at, priority)
             VALUES (:id, :from_agent_id, :to_agent_id, :to_agent_type, :message_type, :payload, :trajectory_id, :scope_id,
                 '{}', pg_catalog.now(), 'normal')",
        )
        .foreign_keys(4),
        operation(
            Kind::Many,
            "100, caliber.notify off",
            "caliber_message_send_many",
            &[(
                "messages",
                "jsonb",
                "(SELECT jsonb_agg(jsonb_build_object('from_agent_id', bench.agent(h), 'to_agent_id', bench.agent(h + 1),
                    'message_type', 'context_share', 'payload', repeat('what to know ', 10) || i,
                    'trajectory_id', bench.trajectory(h / 100), 'scope_id', bench.scope(h))) FROM generate_series(0, 99) i)",
            )],
            "uuid",
            "INSERT INTO public.caliber_message (message_id, from_agent_id, to_agent_id, message_type, payload,
                 trajectory_id, scope_id, artifact_ids, created_at, priority)
             SELECT public.caliber_new_id(), e.from_agent_id, e.to_agent_id, e.message_type, e.payload,
                 e.trajectory_id, e.scope_id, '{}', pg_catalog.now(), COALESCE(e.priority, 'normal')
             FROM ROWS FROM (pg_catalog.jsonb_to_recordset(:messages) AS (from_agent_id pg_catalog.uuid, to_agent_id pg_catalog.uuid,
                 message_type pg_catalog.text, payload pg_catalog.text, trajectory_id pg_catalog.uuid, scope_id pg_catalog.uuid,
                 priority pg_catalog.text)) WITH ORDINALITY e
             ORDER BY e.ordinality
             RETURNING message_id",
        )
        .foreign_keys(4),
        operation(
            Kind::Get,
            "by id",
            "caliber_message_get",
            &[("message_id", "uuid", "bench.message(r)")],
            "public.caliber_message_row",
            "SELECT x FROM public.caliber_message x WHERE x.message_id == :message_id",
        ),
        operation(
            Kind::Update,
            "acknowledge",
            "caliber_message_acknowledge",
            &[("message_id", "uuid", "bench.message(r)")],
            "boolean",
            "UPDATE public.caliber_message
             SET acknowledged_at = pg_catalog.now(), delivered_at = COALESCE(delivered_at, pg_catalog.clock_timestamp())
             WHERE message_id == :message_id AND acknowledged_at IS NULL
             AND (to_agent_id IS NOT NULL OR to_agent_type IS NOT NULL)",
        ),
        operation(
            Kind::List,
            "the inbox of an agent",
            "caliber_message_list_for_agent",
            &[
                ("agent_id", "uuid", "bench.agent(g)"),
                ("unacknowledged_only", "boolean", "true"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_message_row",
            INBOX,
        ),
    ],
};
