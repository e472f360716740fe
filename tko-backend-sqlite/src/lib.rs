//! Keeps the data of TKO in one SQLite file: durable without a server.
