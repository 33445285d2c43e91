-- Knowledge. accessed_at and access_count carry no index, so that counting an
-- access stays a HOT update. Indexes on embeddings are made on request, by
-- caliber_init(embedding_dimensions => n).
CREATE TABLE @schema@.caliber_note OF @schema@.caliber_note_row (
    note_id DEFAULT @schema@.caliber_new_id(),
    note_type NOT NULL,
    title NOT NULL,
    content NOT NULL,
    content_hash NOT NULL,
    source_trajectory_ids NOT NULL DEFAULT '{}',
    source_artifact_ids NOT NULL DEFAULT '{}',
    ttl NOT NULL DEFAULT 'persistent',
    created_at NOT NULL DEFAULT now(),
    updated_at NOT NULL DEFAULT now(),
    accessed_at NOT NULL DEFAULT now(),
    access_count NOT NULL DEFAULT 0,
    abstraction_level NOT NULL DEFAULT 'raw',
    source_note_ids NOT NULL DEFAULT '{}',
    CONSTRAINT caliber_note_pkey PRIMARY KEY (note_id),
    CONSTRAINT caliber_note_note_type_check CHECK (note_type IN (
        'convention', 'strategy', 'gotcha', 'fact', 'preference', 'relationship',
        'procedure', 'meta', 'insight', 'correction', 'summary')),
    CONSTRAINT caliber_note_abstraction_level_check CHECK (abstraction_level IN ('raw', 'summary', 'principle')),
    CONSTRAINT caliber_note_access_count_check CHECK (access_count >= 0),
    CONSTRAINT caliber_note_superseded_by_fkey FOREIGN KEY (superseded_by) REFERENCES @schema@.caliber_note (note_id)
);

-- What the lists use.
CREATE INDEX ON @schema@.caliber_note USING gin (source_trajectory_ids);
CREATE INDEX ON @schema@.caliber_note (note_type, note_id);

-- The child side of foreign keys.
CREATE INDEX ON @schema@.caliber_note (superseded_by) WHERE superseded_by IS NOT NULL;
