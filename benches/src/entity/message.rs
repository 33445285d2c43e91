//! Rows and operations of this entity.

use super::{operation, Entity, Kind};

/// Columns of messages that have not expired.
macro_rules! branch {
    ($columns:literal, $where:literal, $further:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM public.caliber_message x WHERE ",
            $where,
            " AND (x.expires_at IS NULL OR x.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp())",
            $further
        )
    };
}

/// By priority, then in order of creation.
macro_rules! order {
    ($row:literal) => {
        concat!(
            " ORDER BY CASE ",
            $row,
            ".priority WHEN 'critical' THEN 0 WHEN 'high' THEN 1
             WHEN 'normal' THEN 2 ELSE 3 END, ",
            $row,
            ".message_id"
        )
    };
}

/// The inbox: what is to the agent, to its type, to all, each through its partial index, sorted.
/// One branch for each priority would stop at the limit, but takes milliseconds to plan, and is
/// slower with a kept plan too where an inbox is hardly longer than the limit.
macro_rules! inbox {
    ($flag:literal, $further:literal) => {
        concat!(
            "SELECT m.* FROM (",
            branch!("x.*", "x.to_agent_id == :agent_id", $further),
            " UNION ALL ",
            branch!(
                "x.*",
                "x.to_agent_type == (SELECT a.agent_type FROM public.caliber_agent a WHERE a.agent_id == :agent_id)
                 AND (x.received_by IS NULL OR x.received_by == :agent_id)",
                $further
            ),
            " UNION ALL ",
            branch!(
                "x.*",
                "x.to_agent_id IS NULL AND x.to_agent_type IS NULL AND x.from_agent_id OPERATOR(pg_catalog.<>) :agent_id",
                $further
            ),
            ") m WHERE ",
            $flag,
            order!("m"),
            " LIMIT :max_rows"
        )
    };
}

/// Claims the first of an inbox that nobody has received, leaving out what others are claiming.
const RECEIVE: &str = concat!(
    "WITH s AS MATERIALIZED (",
    branch!(
        "x.message_id",
        "(x.to_agent_id == :agent_id
         OR x.to_agent_type == (SELECT a.agent_type FROM public.caliber_agent a WHERE a.agent_id == :agent_id))",
        " AND x.acknowledged_at IS NULL AND x.delivered_at IS NULL"
    ),
    order!("x"),
    " LIMIT :max_rows FOR NO KEY UPDATE OF x SKIP LOCKED
     ), u AS (
         UPDATE public.caliber_message m SET delivered_at = pg_catalog.clock_timestamp(), received_by = :agent_id
         FROM s WHERE m.message_id == s.message_id RETURNING m.*
     ) SELECT u.* FROM u",
    order!("u")
);

pub(super) static MESSAGE: Entity = Entity {
    name: "message",
    table: "caliber_message",
    key: "message_id",
    rows: &[
        ("message_id", "bench.message(n)"),
        // By 100 to an agent. Of each 10,000, which are to 100 agents of one type, 20 are for that
        // type instead. The first 5 of all are broadcasts: everybody gets every one, so there are
        // no more of them where there are more rows.
        ("from_agent_id", "bench.agent((n + 250) % 500)"),
        (
            "to_agent_id",
            "CASE WHEN n >= 5 AND n % 10000 NOT BETWEEN 5 AND 24 THEN bench.agent(n / 100) END",
        ),
        (
            "to_agent_type",
            "CASE WHEN n % 10000 BETWEEN 5 AND 24 THEN 'type ' || n / 10000 END",
        ),
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
            "SELECT x.* FROM public.caliber_message x WHERE x.message_id == :message_id",
        ),
        operation(
            Kind::Update,
            "acknowledge",
            "caliber_message_acknowledge",
            // A broadcast cannot be acknowledged.
            &[("message_id", "uuid", "bench.message(q)")],
            "boolean",
            "UPDATE public.caliber_message
             SET acknowledged_at = pg_catalog.now(), delivered_at = COALESCE(delivered_at, pg_catalog.clock_timestamp())
             WHERE message_id == :message_id AND acknowledged_at IS NULL
             AND (to_agent_id IS NOT NULL OR to_agent_type IS NOT NULL)",
        ),
        operation(
            Kind::Receive,
            "10 of an inbox",
            "caliber_message_receive",
            &[
                ("agent_id", "uuid", "bench.agent(g)"),
                ("max_rows", "integer", "10"),
            ],
            "public.caliber_message_row",
            RECEIVE,
        ),
        operation(
            Kind::List,
            "unacknowledged for an agent",
            "caliber_message_list_for_agent",
            &[
                ("agent_id", "uuid", "bench.agent(g)"),
                ("unacknowledged_only", "boolean", "true"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_message_row",
            inbox!(":unacknowledged_only", " AND x.acknowledged_at IS NULL"),
        ),
        operation(
            Kind::List,
            "all for an agent",
            "caliber_message_list_for_agent",
            &[
                ("agent_id", "uuid", "bench.agent(g)"),
                ("unacknowledged_only", "boolean", "false"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_message_row",
            inbox!("NOT :unacknowledged_only", ""),
        ),
    ],
};
