-- Typed outputs. Indexes on embeddings are made on request, by
-- caliber_init(embedding_dimensions => n).
CREATE TABLE @schema@.caliber_artifact OF @schema@.caliber_artifact_row (
    artifact_id DEFAULT @schema@.caliber_new_id(),
    trajectory_id NOT NULL,
    scope_id NOT NULL,
    artifact_type NOT NULL,
    name NOT NULL,
    content NOT NULL,
    content_hash NOT NULL,
    provenance NOT NULL,
    ttl NOT NULL DEFAULT 'persistent',
    created_at NOT NULL DEFAULT now(),
    updated_at NOT NULL DEFAULT now(),
    CONSTRAINT caliber_artifact_pkey PRIMARY KEY (artifact_id),
    CONSTRAINT caliber_artifact_artifact_type_check CHECK (artifact_type IN (
        'error_log', 'code_patch', 'design_decision', 'user_preference', 'fact', 'constraint',
        'tool_result', 'intermediate_output', 'custom', 'code', 'document', 'data', 'model',
        'config', 'log', 'summary', 'decision', 'plan')),
    CONSTRAINT caliber_artifact_trajectory_id_scope_id_fkey FOREIGN KEY (trajectory_id, scope_id) REFERENCES @schema@.caliber_scope (trajectory_id, scope_id),
    CONSTRAINT caliber_artifact_superseded_by_fkey FOREIGN KEY (superseded_by) REFERENCES @schema@.caliber_artifact (artifact_id)
);

-- What the lists use.
CREATE INDEX ON @schema@.caliber_artifact (trajectory_id, artifact_type, artifact_id);
CREATE INDEX ON @schema@.caliber_artifact (scope_id, artifact_id);

-- The child side of foreign keys.
CREATE INDEX ON @schema@.caliber_artifact (superseded_by) WHERE superseded_by IS NOT NULL;
