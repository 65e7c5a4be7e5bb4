// The application's user: reads and writes database `market`, nothing else. Run once, on an empty volume.
db.getSiblingDB("market").createUser({
  user: "tickhouse",
  pwd: process.env.TICKHOUSE_PASSWORD,
  roles: [{ role: "readWrite", db: "market" }],
});
