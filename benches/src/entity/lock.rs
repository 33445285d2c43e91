//! Rows and operations of this entity.

use super::{operation, Entity, Kind, Operation};

const ACQUIRE: &[super::Argument] = &[
    ("agent_id", "uuid", "bench.agent(h)"),
    ("resource_type", "text", "'file'"),
    ("resource_id", "uuid", "bench.artifact(r)"),
    ("timeout_ms", "bigint", "60000"),
];

pub(super) static LOCK: Entity = Entity {
    name: "lock",
    table: "caliber_lock",
    key: "lock_id",
    rows: &[
        ("lock_id", "bench.lock(n)"),
        // Even rows are by 100 of one agent, exclusive. Odd rows are by 100 on one resource,
        // shared, each of another agent.
        ("resource_type", "CASE n % 2 WHEN 0 THEN 'table' ELSE 'document' END"),
        ("resource_id", "bench.artifact(CASE n % 2 WHEN 0 THEN n ELSE n / 200 END)"),
        ("holder_agent_id", "bench.agent(CASE n % 2 WHEN 0 THEN n / 200 ELSE n END)"),
        ("acquired_at", "clock_timestamp()"),
        ("expires_at", "clock_timestamp() + interval '300 days'"),
        ("mode", "CASE n % 2 WHEN 0 THEN 'exclusive' ELSE 'shared' END"),
        ("level", "'lease'"),
    ],
    operations: &[
        Operation {
            then: Some((
                "caliber_lock_release",
                "DELETE FROM public.caliber_lock WHERE lock_id == $1",
            )),
            foreign_keys: 1,
            ..operation(
                Kind::Lock,
                "an exclusive lease on a free resource",
                "caliber_lock_acquire",
                ACQUIRE,
                "uuid",
                // As far as SQL can say it: both tags without waiting; then, under a new snapshot,
                // whether anybody holds the resource; then the row.
                "SELECT pg_catalog.pg_try_advisory_xact_lock(k.k)
                     AND pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(:agent_id, k.k))
                 FROM (SELECT public.caliber_lock_key(:resource_type, :resource_id) AS k OFFSET 0) k
;
SELECT false FROM public.caliber_lock x WHERE x.resource_type == :resource_type AND x.resource_id == :resource_id
                     AND (x.level OPERATOR(pg_catalog.<>) 'lease' OR x.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()) LIMIT 1
;
INSERT INTO public.caliber_lock (lock_id, resource_type, resource_id, holder_agent_id, acquired_at, expires_at, mode, level)
                 VALUES (:id, :resource_type, :resource_id, :agent_id, pg_catalog.clock_timestamp(),
                     pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => :timeout_ms OPERATOR(pg_catalog./) 1000.0),
                     'exclusive', 'lease')",
            )
        },
        operation(
            Kind::Get,
            "by id",
            "caliber_lock_get",
            &[("lock_id", "uuid", "bench.lock(r)")],
            "public.caliber_lock_row",
            "SELECT x.* FROM public.caliber_lock x WHERE x.lock_id == :lock_id",
        ),
        operation(
            Kind::Hot,
            "extend",
            "caliber_lock_extend",
            &[
                ("lock_id", "uuid", "bench.lock(r)"),
                ("additional_ms", "bigint", "1000"),
            ],
            "boolean",
            // Only a lease that has not ended, and not beyond the longest.
            "UPDATE public.caliber_lock
             SET expires_at = expires_at OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => :additional_ms OPERATOR(pg_catalog./) 1000.0)
             WHERE lock_id == :lock_id AND level == 'lease' AND expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
             AND expires_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) interval '366 days')",
        ),
        operation(
            Kind::List,
            "of an agent",
            "caliber_lock_list_by_agent",
            &[
                ("agent_id", "uuid", "bench.agent(g / 2)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_lock_row",
            // Only live leases: what is alive of the other levels SQL cannot say.
            "SELECT x.* FROM public.caliber_lock x WHERE x.holder_agent_id == :agent_id
             AND (x.level OPERATOR(pg_catalog.<>) 'lease' OR x.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp())
             ORDER BY x.lock_id LIMIT :max_rows",
        ),
        operation(
            Kind::List,
            "of a resource",
            "caliber_lock_list_by_resource",
            &[
                ("resource_type", "text", "'document'"),
                ("resource_id", "uuid", "bench.artifact(g / 2)"),
                ("max_rows", "integer", "100"),
            ],
            "public.caliber_lock_row",
            "SELECT x.* FROM public.caliber_lock x WHERE x.resource_type == :resource_type AND x.resource_id == :resource_id
             AND (x.level OPERATOR(pg_catalog.<>) 'lease' OR x.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp())
             ORDER BY x.lock_id LIMIT :max_rows",
        ),
    ],
};
