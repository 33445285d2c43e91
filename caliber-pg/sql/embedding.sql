-- Nearest by cosine distance among the embeddings of @n@ dimensions. A search uses
-- the index only with these very expressions. @type@ is vector up to 2000
-- dimensions, halfvec beyond.
CREATE INDEX ON @schema@.@table@ USING hnsw ((embedding::@vector@.@type@(@n@)) @vector@.@type@_cosine_ops) WHERE @vector@.vector_dims(embedding) = @n@;
