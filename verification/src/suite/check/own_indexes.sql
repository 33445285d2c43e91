-- Indexes of a user's own.
CREATE INDEX own_expression ON caliber_scope (lower(name), tokens_used DESC NULLS FIRST) INCLUDE (purpose) WHERE tokens_used > 20;
CREATE INDEX own_collation ON caliber_scope (name COLLATE "C", purpose COLLATE "POSIX");
CREATE INDEX own_duplicates ON caliber_turn (role);
CREATE INDEX own_hash ON caliber_turn USING hash (content);
CREATE INDEX own_hash_of_few ON caliber_turn USING hash (role);
CREATE INDEX own_gist ON caliber_turn USING gist (int4range(sequence, sequence + 5), tsrange(NULL, NULL));
CREATE INDEX own_brin ON caliber_turn USING brin (token_count, content) WITH (pages_per_range = 1);
CREATE INDEX own_gin_json ON caliber_trajectory USING gin (outcome);
CREATE INDEX own_gin_text ON caliber_agent USING gin (capabilities, (ARRAY[agent_type])) WITH (fastupdate = off);
CREATE INDEX own_spgist ON caliber_note USING spgist (title);
CREATE INDEX own_l2 ON caliber_note USING hnsw ((embedding::vector(3)) vector_l2_ops);
CREATE INDEX own_half ON caliber_artifact USING hnsw ((embedding::halfvec(3)) halfvec_cosine_ops) WHERE vector_dims(embedding) = 3;
CREATE UNIQUE INDEX own_nulls ON caliber_conflict (agent_a_id, agent_b_id, conflict_id) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX own_nulls_differ ON caliber_trajectory (agent_id, trajectory_id DESC NULLS LAST);
CREATE INDEX own_name ON caliber_message ((payload::name));
CREATE INDEX own_array ON caliber_message ((ARRAY[priority, message_type]));
CREATE INDEX own_toasted ON caliber_artifact (left(content, 2000));
