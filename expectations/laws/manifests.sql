-- One row for all readable manifests, and one per damaged or foreign object beside them. Readers ignore such objects; this
-- law reports them.
SELECT 'manifests' AS what, manifests AS objects, NULL::VARCHAR AS problem FROM manifests_read WHERE manifests > 0
UNION ALL SELECT 'problem', 1, problem FROM manifest_problems
