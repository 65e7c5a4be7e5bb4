// Create the application's user, which may read and write only database `market`. Runs once, on an empty volume.
db.getSiblingDB("market").createUser({
  user: "tickhouse",
  pwd: process.env.TICKHOUSE_PASSWORD,
  roles: [{ role: "readWrite", db: "market" }],
});
