// Wallets that share counterparties. SYNTHETIC: the wallets are a generated sample.
// Parameters: least, the smallest number of counterparties that two wallets share.
MATCH (left:Wallet:SYNTHETIC)-[:TRADED_WITH]-(other:Wallet:SYNTHETIC)-[:TRADED_WITH]-(right:Wallet:SYNTHETIC)
WHERE left.wallet_id < right.wallet_id
WITH left, right, collect(DISTINCT other.wallet_id) AS shared
WHERE size(shared) >= toInteger($least)
MATCH (owner:User)-[:OWNS]->(left), (other:User)-[:OWNS]->(right)
RETURN left.wallet_id AS left, right.wallet_id AS right, owner = other AS is_same_user, shared
